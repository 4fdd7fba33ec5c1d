//! Sends alerts by POST to a URL. Must not retry.

use std::time::Duration;

use ureq::{Agent, Error};

use super::carrier::{Carrier, Failure, Notice};
use crate::own_client;
use crate::own_sockets::OwnSockets;

/// Timeout of a delivery, from name resolution to the response.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Webhook {
    agent: Agent,
    url: String,
}

impl Webhook {
    pub(super) fn new(url: String, own: OwnSockets, patience: Duration) -> Self {
        Webhook { agent: own_client::within(patience, own), url }
    }
}

impl Carrier for Webhook {
    fn carry(&mut self, notice: &Notice) -> Result<(), Failure> {
        let answer = self
            .agent
            .post(&self.url)
            .header("content-type", "application/json")
            .send(notice.line.trim_ascii_end());
        match answer {
            Ok(mut answer) => {
                let status = answer.status();
                match status.as_u16() {
                    200..=299 => {
                        // It is accepted, whatever else it says; once read, the connection serves again.
                        let _ = own_client::read_answer(answer.body_mut());
                        Ok(())
                    }
                    408 | 429 | 500.. => Err(Failure::passing(format!("answered {status}"))),
                    _ => Err(Failure::lasting(format!("answered {status}"))),
                }
            }
            Err(error @ (Error::BadUri(_) | Error::Http(_))) => Err(Failure::lasting(error)),
            Err(error) => Err(Failure::passing(own_client::worded(&error))),
        }
    }
}
