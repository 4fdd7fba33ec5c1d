//! The framer finds the messages of every scene and of generated conversations.

use http_trace_common::framer::{Body, Event, Framer, HeadFacts, RequestQueue, Span, flag};
use http_trace_tests::generate::{Options, conversation};
use http_trace_tests::scene::{End, Scene, Side, Step, Transaction};
use http_trace_tests::scenes;
use proptest::prelude::*;

/// A final response as framed.
#[derive(Debug, PartialEq)]
struct Framed {
    informational: Vec<u16>,
    status: u16,
    body: u64,
    flags: u32,
}

/// Frames both directions of `scene` in the order of its steps.
fn frame(scene: &Scene) -> Vec<Framed> {
    let mut framers = [Framer::new(), Framer::new()];
    let mut queue = RequestQueue::new();
    let mut framed = Vec::<Framed>::new();
    let mut informational = Vec::new();
    for step in &scene.steps {
        let (Step::Send(side, bytes) | Step::Trickle(side, bytes)) = step else {
            continue;
        };
        let mut rest = &bytes[..];
        // A step of the scene is a segment: after a loss of framing, a status line there is found.
        let framer = &mut framers[side.index()];
        if framer.phase() == http_trace_common::framer::Phase::Unsure
            && rest.starts_with(b"HTTP/1.")
        {
            framer.restart();
            queue.set_unknown();
        }
        while !rest.is_empty() {
            let framer = &mut framers[side.index()];
            let step = framer.step(&mut queue, rest);
            rest = &rest[step.taken as usize..];
            let server = *side == Side::Server;
            if server
                && step.span == Span::Body
                && let Some(last) = framed.last_mut()
            {
                last.body += u64::from(step.taken);
            }
            match step.event {
                Some(Event::HeadEnds { head: HeadFacts::Response { status, .. }, body }) => {
                    let flags = framer.flags();
                    if (100..200).contains(&status) && status != 101 {
                        informational.push(status);
                    } else {
                        let informational = std::mem::take(&mut informational);
                        framed.push(Framed { informational, status, body: 0, flags });
                    }
                    if body == Body::Tunnel {
                        framers[side.peer().index()].set_opaque();
                    }
                }
                Some(Event::BodyBegins { back }) if server => {
                    if let Some(last) = framed.last_mut() {
                        last.body += u64::from(back);
                    }
                }
                _ => {}
            }
        }
    }
    framed.retain(|f| f.status != 0);
    framed
}

fn check(scene: &Scene) -> Result<(), String> {
    let framed = frame(scene);
    let codes = |f: &Framed| (f.informational.clone(), f.status);
    let got: Vec<_> = framed.iter().map(codes).collect();
    let want = |t: &Transaction| (t.informational.clone(), t.status);
    let want: Vec<_> = scene.truth.iter().map(want).collect();
    if got != want {
        return Err(format!("{}: framed {got:?} instead of {want:?}", scene.name));
    }
    for (framed, truth) in framed.iter().zip(&scene.truth) {
        // Responses that cannot be framed have no length to compare.
        let known = framed.flags & (flag::LENGTH_CONFLICT | flag::LENGTH_INVALID) == 0;
        if known && truth.body_bytes.is_some_and(|bytes| bytes != framed.body) {
            return Err(format!("{}: {framed:?} instead of {truth:?}", scene.name));
        }
        for (bit, name) in flag::NAMES {
            if truth.flags.contains(&name) && framed.flags & bit == 0 {
                return Err(format!("{}: no flag {name} on {framed:?}", scene.name));
            }
        }
        if truth.end == End::Chunked && framed.flags & flag::CODING_NOT_CHUNKED != 0 {
            return Err(format!("{}: chunked was not seen: {framed:?}", scene.name));
        }
    }
    Ok(())
}

#[test]
fn every_scene() {
    let wrong: Vec<_> = scenes::all().iter().filter_map(|scene| check(scene).err()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn generated_conversations(scene in conversation(Options::default())) {
        if let Err(wrong) = check(&scene) {
            prop_assert!(false, "{wrong}");
        }
    }
}
