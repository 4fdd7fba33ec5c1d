//! The tags and tunnels that a response came in.

use std::io::Write as _;

use super::object::{comma, key, number, open, word};
use http_trace_model::event::HttpEvent;

/// Appends `vlan` and, of several tags, the innermost as `inner.vlan`, as ECS has them: ids are
/// keywords there.
pub fn vlans(out: &mut Vec<u8>, event: &HttpEvent) {
    let mut vlans = event.vlans();
    let Some(outer) = vlans.next() else {
        return;
    };
    // Writing to a vector cannot fail.
    open!(out, "vlan");
    let _ = write!(out, "\"id\":\"{outer}\"}}");
    if let Some(inner) = vlans.last() {
        open!(out, "inner");
        let _ = write!(out, "\"vlan\":{{\"id\":\"{inner}\"}}}}");
    }
}

/// Appends `tunnel`, if there is one: its layers, and the addresses of each outer IP header, both
/// from the outermost on.
pub fn tunnel(out: &mut Vec<u8>, event: &HttpEvent) {
    let Some(encap) = event.tunnel() else {
        return;
    };
    open!(out, "tunnel");
    key!(out, "layers");
    out.push(b'[');
    for layer in encap.layers() {
        comma(out);
        out.push(b'{');
        word!(out, "type", layer.kind.name());
        if let Some(id) = layer.number() {
            number!(out, "id", u64::from(id));
        }
        out.push(b'}');
    }
    out.push(b']');
    key!(out, "outer");
    out.push(b'[');
    for [client, server] in event.outer_ips() {
        comma(out);
        let _ = write!(
            out,
            "{{\"client\":{{\"ip\":\"{client}\"}},\"server\":{{\"ip\":\"{server}\"}}}}"
        );
    }
    out.extend_from_slice(b"]}");
}
