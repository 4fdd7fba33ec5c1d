//! The kernel's filter and the host's with the same settings, to be held against each other over the
//! same frames. The kernel's is run by BPF_PROG_TEST_RUN, which needs root.

use http_trace::probe::loader::{Framing, Settings};
use http_trace::probe::test_run::TestRun;
use http_trace_common::config::FilterConfig;
use http_trace_common::record::Hook;
use http_trace_engine::host_filter::HostFilter;

/// Both filters, the kernel's at TC's ingress.
///
/// # Panics
/// When the program does not load.
pub fn both(framing: Framing, filter: FilterConfig) -> (TestRun, HostFilter) {
    let kernel = kernel(Hook::Tc, "http_trace_in", framing, filter);
    (kernel, host(framing, filter))
}

/// The kernel's filter, by the name of a hook's program that frames.
///
/// # Panics
/// When it does not load.
pub fn kernel(
    hook: Hook,
    program: &'static str,
    framing: Framing,
    filter: FilterConfig,
) -> TestRun {
    let settings = Settings {
        filter,
        ..Settings::default()
    };
    TestRun::new(&settings, hook, framing.program(program)).expect("the program loads")
}

/// The host's.
pub fn host(framing: Framing, filter: FilterConfig) -> HostFilter {
    match framing {
        Framing::Kernel => HostFilter::new(filter),
        Framing::Host => HostFilter::without_framing(filter),
    }
}
