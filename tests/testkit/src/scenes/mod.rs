//! The table of scenes: what HTTP allows servers to do, and what some do although it does not.
//!
//! Expectations follow RFC 9110 and 9112. Where these leave a choice, the scene's comment names it and gives
//! the reason.

use crate::scene::{End, Scene, Side, Step, Transaction};

mod below;
mod framing;
mod hostile;

/// All scenes; names are unique.
pub fn all() -> Vec<Scene> {
    let mut scenes = framing::scenes();
    scenes.extend(hostile::scenes());
    scenes.extend(below::scenes());
    scenes
}

/// The scene with this name.
///
/// # Panics
/// If there is none.
pub fn named(name: &str) -> Scene {
    let found = all().into_iter().find(|scene| scene.name == name);
    found.unwrap_or_else(|| panic!("no scene is called {name}"))
}

struct Script(Scene);

impl Script {
    fn new(name: &'static str) -> Self {
        Script(Scene { name, steps: Vec::new(), truth: Vec::new() })
    }

    /// The client sends a request without a body.
    fn ask(self, method: &str, target: &str) -> Self {
        self.client(format!("{method} {target} HTTP/1.1\r\nHost: scene.example\r\n\r\n"))
    }

    /// The client sends these bytes.
    fn client(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.0.steps.push(Step::client(bytes.into()));
        self
    }

    /// The server sends these bytes.
    fn server(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.0.steps.push(Step::server(bytes.into()));
        self
    }

    /// The server sends these bytes, one per segment.
    fn trickle(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.0.steps.push(Step::Trickle(Side::Server, bytes.into().into()));
        self
    }

    fn step(mut self, step: Step) -> Self {
        self.0.steps.push(step);
        self
    }

    /// The response to `method target` is now complete, or as complete as it gets.
    fn expect(mut self, transaction: Transaction) -> Self {
        self.0.truth.push(transaction);
        self
    }

    /// The client sends a request and the server answers 200 with a body of known length.
    fn plain(self, target: &str) -> Self {
        let body = format!("this is {target}");
        let length = body.len().to_string();
        self.ask("GET", target)
            .server(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"))
            .expect(
                Transaction::new("GET", target, 200, "OK")
                    .header("Content-Length", length)
                    .body(body.len() as u64, End::Length),
            )
    }

    /// The client closes, then the server.
    fn close(self) -> Scene {
        self.step(Step::Close(Side::Client)).step(Step::Close(Side::Server)).0
    }

    /// The server closes, then the client.
    fn server_closes(self) -> Scene {
        self.step(Step::Close(Side::Server)).step(Step::Close(Side::Client)).0
    }

    fn server_resets(self) -> Scene {
        self.step(Step::Reset(Side::Server)).0
    }
}
