//! Turns records of TCP segments, or plaintext streams, into HTTP exchanges and events. Synchronous;
//! performs no I/O and reads no clock.
//!
//! The parts, from the bytes to the event:
//!
//! - **Transport** ([`transport`]) orders each direction's bytes. It reassembles segments, recognises
//!   copies, decides when a gap will not be filled, and treats FIN and RST as claims until something
//!   confirms them.
//! - **Protocol boundary** (`protocol`): a protocol gets bytes, gaps and declared skips in order, and
//!   yields exchanges. It knows neither segments nor events.
//! - **Framing** ([`http1`]) finds where messages, heads and bodies begin and end, with the framer that
//!   the filter uses. After a gap that is not provably body, a direction is `Unsure` until it
//!   resynchronises at a start line that begins a segment.
//! - **Pairing** gives each response its request: by order, and after a loss by sequence and
//!   acknowledgement numbers. If two requests remain possible, the response gets none.
//! - **Proof**: a status line where framing was lost may be part of a body. Its events are held back
//!   until both ends continue as the framing says.
//!
//! ```
//! use http_trace_common::flow::{Direction, FlowKey, v4_mapped};
//! use http_trace_engine::pipeline::{Pipeline, PipelineConfig, StreamId};
//! use http_trace_model::event::Output;
//!
//! let (client, server) = (v4_mapped([192, 0, 2, 1]), v4_mapped([192, 0, 2, 80]));
//! let (key, asks) = FlowKey::new(&client, 40_000, &server, 80, 0);
//! let answers = asks.opposite();
//!
//! let mut events = Vec::new();
//! let mut out = |output| match output {
//!     Output::Http(event) => events.push(event),
//!     Output::Loss(_) => {}
//! };
//! let mut pipeline = Pipeline::new(PipelineConfig::default());
//! let (stream, time_ns) = (StreamId(1), 1_800_000_000_000_000_000);
//! pipeline.open_stream(stream, Some(key), time_ns, &mut out);
//! let request = b"GET /cart HTTP/1.1\r\nHost: shop.example\r\n\r\n";
//! pipeline.push_stream(stream, asks, request, time_ns, &mut out);
//! let response = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone";
//! pipeline.push_stream(stream, answers, response, time_ns + 1_000_000, &mut out);
//! pipeline.finish(&mut out);
//!
//! let event = &events[0];
//! let asked = event.request.as_ref().map(|request| &request.target[..]);
//! let status = event.response.as_ref().map(|response| response.status);
//! println!("{} {:?} {:?}", event.client.ip, asked, status);
//! assert_eq!((asked, status), (Some(&b"/cart"[..]), Some(404)));
//! ```
//!
//! Packets take the same path: `Pipeline::push` takes the records that a hook, a capture or
//! [`host_filter`] makes of their segments.
//!
//! # Layout
//! Each module imports only from those above it.
//!
//! - [`stats`] is what is counted.
//! - [`crowd`]: which connections a full table evicts, and which are forgotten.
//! - [`config`]: limits and options.
//! - [`table`]: the bounded table of connections, in order of last use.
//! - [`origin`]: where, when and at which position bytes were seen.
//! - [`encaps`]: numbered tags and tunnels.
//! - [`fragments`]: reassembles IP packets.
//! - [`host_filter`]: the kernel's filter on the host.
//! - [`names`]: connections that are seen under several tuples.
//! - [`protocol`]: the boundary: bytes, gaps and skips of one direction in, exchanges out.
//! - [`http1`]: HTTP/1.x: framing, decoding, pairing.
//! - [`protocols`]: which implementation reads a connection.
//! - [`transport`]: TCP: reassembly, gaps, copies, SYN, FIN and RST.
//! - [`plain`]: plaintext streams, without TCP below.
//! - [`emit`]: from exchanges to events.
//! - [`pipeline`]: drives everything: records and streams in, events and losses out.
#![forbid(unsafe_code)]

pub mod config;
pub mod crowd;
pub(crate) mod emit;
pub mod encaps;
pub mod fragments;
pub mod host_filter;
pub mod http1;
pub mod names;
pub mod origin;
pub mod pipeline;
pub(crate) mod plain;
pub(crate) mod protocol;
pub(crate) mod protocols;
pub mod stats;
pub mod table;
pub mod transport;
