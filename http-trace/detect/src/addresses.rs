//! What is asked of the addresses of clients and servers. There are few servers, and of most clients only
//! networks are asked: what each passes is found once and kept, so that it is one of the things that a
//! [`super::plans::Kind`] is made of.

use std::net::IpAddr;

use super::field::{Field, Value, View};
use super::kept::Lots;
use super::matcher::Test;
use super::prefilter::is_any_of;

/// The most tests, a bit each; and how many sets of those that are passed are told apart.
const TESTS: usize = 64;
const CLASSES: usize = 64;

/// Addresses that are kept.
const KEPT: usize = 64;

/// Whose address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The client's.
    Client,
    /// The server's.
    Server,
}

impl Whose {
    /// Whose address a test of a field asks of, if that can be kept: of a client's nothing that would
    /// have to be written out for each of a million.
    pub const fn asked(field: &Field, test: &Test) -> Option<Whose> {
        match (field, test) {
            (_, Test::SameAs(..)) => None,
            (Field::ServerIp, _) => Some(Whose::Server),
            (Field::ClientIp, Test::Networks(_)) => Some(Whose::Client),
            _ => None,
        }
    }
}

/// Where an address is kept, or beside that: networks are often numbered alike, so that all bits count.
const fn place(ip: IpAddr) -> usize {
    const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
    let bits = match ip {
        IpAddr::V4(ip) => ip.to_bits() as u64,
        IpAddr::V6(ip) => {
            let bits = ip.to_bits();
            bits as u64 ^ (bits >> 64) as u64
        }
    };
    (bits.wrapping_mul(PRIME) >> 32) as usize % KEPT
}

/// Tests of addresses.
#[derive(Debug)]
pub struct Addresses {
    whose: Whose,
    tests: Vec<Test>,
    /// Detections that ask.
    mask: Vec<u64>,
    /// Of each class the tests that its addresses pass.
    classes: Vec<u64>,
    /// Addresses, each in one of two places, and their classes.
    kept: Vec<Option<(IpAddr, u16)>>,
    lots: Lots,
    /// What the address of the event at hand passes.
    passed: u64,
}

impl Addresses {
    /// No tests; `words` is the length of sets of detections.
    pub fn new(whose: Whose, words: usize) -> Self {
        Addresses {
            whose,
            tests: Vec::new(),
            mask: vec![0; words],
            classes: Vec::new(),
            kept: vec![None; KEPT],
            lots: Lots::default(),
            passed: 0,
        }
    }

    /// The number of one more test; it comes back when there are too many.
    pub fn add(&mut self, test: Test) -> Result<usize, Test> {
        if self.tests.len() == TESTS {
            return Err(test);
        }
        self.tests.push(test);
        Ok(self.tests.len() - 1)
    }

    /// A detection asks.
    pub fn ask_for(&mut self, detection: usize) {
        self.mask[detection / 64] |= 1 << (detection % 64);
    }

    /// Finds the class of an event's address, if any of the detections that are possible asks for it;
    /// what classes there were before is void when the second value is set.
    pub fn classify(&mut self, view: &View<'_>, possible: &[u64]) -> (usize, bool) {
        if !is_any_of(&self.mask, possible) {
            return (0, false);
        }
        let ip = match self.whose {
            Whose::Client => view.event.client_ip(),
            Whose::Server => view.event.server.ip,
        };
        let places = [place(ip), place(ip) ^ 1];
        for at in places {
            if let Some((of, class)) = self.kept[at]
                && of == ip
                && let Some(passed) = self.classes.get(usize::from(class))
            {
                self.passed = *passed;
                return (class.into(), false);
            }
        }
        let pass = |test: &Test| match self.whose {
            Whose::Client => test.passes(view, &Value::Ip(ip)),
            // It may not be known.
            Whose::Server => test.holds(&Field::ServerIp, view),
        };
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
        let mut empty = places.into_iter().filter(|at| self.kept[*at].is_none());
        let at = empty.next().unwrap_or_else(|| places[self.lots.draw(2)]);
        self.kept[at] = Some((ip, class as u16));
        (class, void)
    }

    /// Whether the address of the event at hand, which was classified, passes a test.
    pub const fn passes(&self, test: usize) -> bool {
        self.passed >> test & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    use crate::lines::Noted;
    use crate::matcher::{Literal, TextTest};
    use crate::uri::Uri;
    use http_trace_model::testing;

    #[test]
    fn each_address_passes_what_it_passes_alone() {
        let ends = |digit: u8| {
            Test::Text(TextTest::Ends(Literal {
                bytes: vec![digit].into(),
                fold: true,
            }))
        };
        let mut servers = Addresses::new(Whose::Server, 1);
        servers.ask_for(3);
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
                servers.classify(&view, &[1 << 3]);
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

    /// Also of networks that are numbered alike.
    #[test]
    fn two_addresses_that_come_in_turns_are_both_kept() {
        let mut servers = Addresses::new(Whose::Server, 1);
        servers.ask_for(3);
        servers.add(Test::Present).expect("few");
        let mut event = testing::event();
        let mut all = 0;
        for n in 0..5000_u32 {
            for turn in 0..100 {
                let ip = IpAddr::from(Ipv4Addr::from(n << 16 | (turn % 2) << 8 | 10));
                all += usize::from(!servers.kept.contains(&Some((ip, 0))));
                event.server.ip = ip;
                let (noted, uri) = (Noted::of(&event), Uri::default());
                servers.classify(&View::new(&event, &noted, &uri), &[1 << 3]);
            }
        }
        assert!(all < 4 * 5000, "{all}");
    }

    #[test]
    fn a_client_is_in_the_networks_that_it_is_in_and_asked_only_when_it_matters() {
        let nets = ["10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32"];
        let mut clients = Addresses::new(Whose::Client, 1);
        for net in nets {
            let net = vec![net.parse().expect("a network")];
            clients.add(Test::Networks(net.into())).expect("few");
        }
        clients.ask_for(2);
        let mut event = testing::event();
        for turn in 0..2 {
            for (ip, expected) in [
                ("10.1.2.3", [true, true, false]),
                ("10.2.2.3", [true, false, false]),
                ("2001:db8::3", [false, false, true]),
                ("192.0.2.3", [false; 3]),
            ] {
                event.client.ip = ip.parse().expect("an address");
                let (noted, uri) = (Noted::of(&event), Uri::default());
                let view = View::new(&event, &noted, &uri);
                assert_eq!(clients.classify(&view, &[1 << 3]), (0, false));
                clients.classify(&view, &[1 << 2]);
                let got = [0, 1, 2].map(|test| clients.passes(test));
                assert_eq!(got, expected, "{turn} {ip}");
            }
        }
    }
}
