//! The kernel's filter and the host's with the same settings, for comparison over the same frames.
//! BPF_PROG_TEST_RUN runs the kernel's, which needs root.

use http_trace::probe::loader::{Framing, Settings};
use http_trace_common::config::FilterConfig;
use http_trace_common::record::Hook;
use http_trace_engine::host_filter::HostFilter;

use crate::test_run::TestRun;

/// Both filters, the kernel's at TC's ingress.
///
/// # Panics
/// If the program does not load.
pub fn both(framing: Framing, filter: FilterConfig) -> (TestRun, HostFilter) {
    let kernel = kernel(Hook::Tc, "http_trace_in", framing, filter);
    (kernel, host(framing, filter))
}

/// The kernel's filter, from the name of a framing program of a hook.
///
/// # Panics
/// If it does not load.
pub fn kernel(
    hook: Hook,
    program: &'static str,
    framing: Framing,
    filter: FilterConfig,
) -> TestRun {
    let settings = Settings { filter, ..Settings::default() };
    TestRun::new(&settings, hook, framing.program(program)).expect("the program loads")
}

pub fn host(framing: Framing, filter: FilterConfig) -> HostFilter {
    match framing {
        Framing::Kernel => HostFilter::new(filter),
        Framing::Host => HostFilter::without_framing(filter),
    }
}
