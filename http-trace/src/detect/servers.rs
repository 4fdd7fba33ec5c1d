//! What is asked of the server's address. There are few servers: what each passes is found once and
//! kept, so that it is one of the things that a [`super::plans::Kind`] is made of.

use std::net::IpAddr;

use super::field::{Value, View};
use super::matcher::Test;

/// The most tests, a bit each; and how many sets of those that are passed are told apart.
const TESTS: usize = 64;
const CLASSES: usize = 64;

/// Addresses that are kept.
const KEPT: usize = 64;

/// Tests of the server's address.
#[derive(Debug)]
pub struct Servers {
    tests: Vec<Test>,
    /// Of each class the tests that its addresses pass.
    classes: Vec<u64>,
    /// Addresses, each where its last bytes say, and their classes.
    kept: Vec<Option<(IpAddr, u16)>>,
    /// What the server of the event at hand passes.
    passed: u64,
}

impl Default for Servers {
    fn default() -> Self {
        Servers {
            tests: Vec::new(),
            classes: Vec::new(),
            kept: vec![None; KEPT],
            passed: 0,
        }
    }
}

impl Servers {
    /// The number of one more test; it comes back when there are too many.
    pub fn add(&mut self, test: Test) -> Result<usize, Test> {
        if self.tests.len() == TESTS {
            return Err(test);
        }
        self.tests.push(test);
        Ok(self.tests.len() - 1)
    }

    /// Finds the class of an event's server; what classes there were before is void when the second
    /// value is set.
    pub fn classify(&mut self, view: &View<'_>) -> (usize, bool) {
        if self.tests.is_empty() {
            return (0, false);
        }
        let ip = view.event.server.ip;
        let place = match ip {
            IpAddr::V4(ip) => ip.to_bits() as usize,
            IpAddr::V6(ip) => ip.to_bits() as usize,
        } % KEPT;
        if let Some((of, class)) = self.kept[place]
            && of == ip
            && let Some(passed) = self.classes.get(usize::from(class))
        {
            self.passed = *passed;
            return (class.into(), false);
        }
        let pass = |test: &Test| test.passes(view, &Value::Ip(ip));
        let each = self.tests.iter().enumerate();
        self.passed = each.fold(0, |passed, (n, test)| passed | u64::from(pass(test)) << n);
        let there = self.classes.iter().position(|of| *of == self.passed);
        let void = there.is_none() && self.classes.len() == CLASSES;
        if void {
            self.classes.clear();
            self.kept.fill(None);
        }
        let class = there.unwrap_or_else(|| {
            self.classes.push(self.passed);
            self.classes.len() - 1
        });
        self.kept[place] = Some((ip, class as u16));
        (class, void)
    }

    /// Whether the server of the event at hand, which was classified, passes a test.
    pub const fn passes(&self, test: usize) -> bool {
        self.passed >> test & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    use crate::detect::lines::Noted;
    use crate::detect::matcher::{Literal, TextTest};
    use crate::detect::uri::Uri;
    use crate::testing;

    #[test]
    fn each_server_passes_what_it_passes_alone() {
        let ends = |digit: u8| {
            Test::Text(TextTest::Ends(Literal {
                bytes: vec![digit].into(),
                fold: true,
            }))
        };
        let mut servers = Servers::default();
        for digit in b'0'..=b'9' {
            assert_eq!(
                servers.add(ends(digit)).expect("few"),
                usize::from(digit - b'0')
            );
        }
        servers
            .add(Test::Text(TextTest::Contains(Literal {
                bytes: b".1".as_slice().into(),
                fold: true,
            })))
            .expect("few");
        let mut event = testing::event();
        for turn in 0..2 {
            for n in 0..1000_u32 {
                event.server.ip = Ipv4Addr::from(0x0a00_0000 + n * 77).into();
                let (noted, uri) = (Noted::of(&event), Uri::default());
                let view = View::new(&event, &noted, &uri);
                let text = event.server.ip.to_string();
                servers.classify(&view);
                for digit in 0..10 {
                    let expected = text.ends_with(&digit.to_string());
                    assert_eq!(servers.passes(digit), expected, "{turn} {text}");
                }
                assert_eq!(servers.passes(10), text.contains(".1"), "{text}");
            }
        }
        while servers.add(Test::Present).is_ok() {}
        assert_eq!(servers.tests.len(), TESTS);
    }
}
