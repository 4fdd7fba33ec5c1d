//! Ethernet frames into the host's filter as the kernel's entry point passes them to its own.

use http_trace_common::config::decap;
use http_trace_common::counter::Counter;
use http_trace_common::filter::Context;
use http_trace_common::record::Record;
use http_trace_common::walk::{self, Skip, Tunnel};
use http_trace_engine::host_filter::HostFilter;

pub trait PushEthernet {
    /// Passes a frame to the filter: a segment or an IP fragment, also inside a tunnel that the configuration
    /// asks for; anything else is ignored.
    fn push_ethernet(&mut self, frame: &[u8], context: &Context, emit: &mut impl FnMut(Record<'_>));
}

impl PushEthernet for HostFilter {
    fn push_ethernet(
        &mut self,
        frame: &[u8],
        context: &Context,
        emit: &mut impl FnMut(Record<'_>),
    ) {
        let tags = match self.config.decap & decap::VLAN {
            0 => 0,
            _ => walk::tags(frame, true, 0),
        };
        let netns = Tunnel::netns_tagged(tags, 0);
        let tunnel = Tunnel::of_tags(tags);
        match walk::ethernet(frame, netns) {
            Ok(segment) => self.push_within(tunnel, frame, &segment, context, emit),
            Err(Skip::Fragment) => {
                if let Ok(at) = walk::ip_of_ethernet(frame) {
                    self.push_fragment(tunnel, frame, (at, netns), context, emit);
                }
            }
            Err(Skip::NotTcp) if self.config.decap & decap::TUNNELS != 0 => {
                look_inside(self, (tunnel, netns), frame, context, emit);
            }
            Err(skip) => self.count(skip.counter(), 1),
        }
    }
}

/// Looks into a packet that may be a tunnel's.
fn look_inside(
    filter: &mut HostFilter,
    (mut tunnel, own): (Tunnel, u32),
    frame: &[u8],
    context: &Context,
    emit: &mut impl FnMut(Record<'_>),
) {
    let Ok(outer) = walk::ip_of_ethernet(frame) else {
        return;
    };
    let which = filter.config.decap;
    let at = match walk::inner_ip(frame, outer, which, &mut tunnel) {
        Ok(at) => at,
        Err(Skip::Fragment) => {
            let netns = Tunnel::netns(tunnel.what, own, which);
            return filter.push_fragment(tunnel, frame, (outer, netns), context, emit);
        }
        Err(_) => return,
    };
    let netns = Tunnel::netns(tunnel.what, own, which);
    match walk::ip(frame, at, netns) {
        Ok(segment) => {
            filter.count(Counter::Decapsulated, 1);
            filter.push_within(tunnel, frame, &segment, context, emit);
        }
        Err(Skip::Fragment) => filter.push_fragment(tunnel, frame, (at, netns), context, emit),
        Err(_) => {}
    }
}
