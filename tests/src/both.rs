//! The kernel's filter and the host's with the same settings, to be held against each other over the
//! same frames. The kernel's is TC's of ingress, run by BPF_PROG_TEST_RUN, which needs root.

use http_trace::host_filter::HostFilter;
use http_trace::probe::loader::{Framing, Settings};
use http_trace::probe::test_run::TestRun;
use http_trace_common::config::FilterConfig;
use http_trace_common::record::Hook;

/// Both filters.
///
/// # Panics
/// When the program does not load.
pub fn both(framing: Framing, filter: FilterConfig) -> (TestRun, HostFilter) {
    let settings = Settings {
        framing,
        filter,
        ..Settings::default()
    };
    let program = framing.program("http_trace_in");
    let kernel = TestRun::new(&settings, Hook::Tc, program).expect("the program loads");
    let host = match framing {
        Framing::Kernel => HostFilter::new(filter),
        Framing::Host => HostFilter::without_framing(filter),
    };
    (kernel, host)
}
