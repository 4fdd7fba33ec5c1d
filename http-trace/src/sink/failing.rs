//! Whether a destination fails at present, and whether that was reported. Must not write or retry.

/// Change of state of a destination whose writes are retried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Writes fail, with the error as text.
    Fails(String),
    /// Writes succeed again.
    GoesOn,
}

/// Error of the last attempt, if it failed and will be retried.
#[derive(Debug, Default)]
pub struct Failing {
    pub error: Option<String>,
    is_reported: bool,
}

impl Failing {
    /// A change of state that was not reported yet.
    pub fn news(&mut self) -> Option<News> {
        if self.error.is_some() == self.is_reported {
            return None;
        }
        self.is_reported = !self.is_reported;
        Some(self.error.clone().map_or(News::GoesOn, News::Fails))
    }
}

/// Waits for the next change of state.
#[cfg(test)]
pub fn next(news: impl Fn() -> Option<News>) -> News {
    for _ in 0..60_000 {
        if let Some(news) = news() {
            return news;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("nothing was reported for a minute");
}
