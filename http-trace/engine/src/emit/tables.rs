//! Small tables for making events: names of interfaces, server ports, the limit of attempts. Decides
//! nothing about messages.

use std::collections::HashMap;
use std::sync::Arc;

use http_trace_common::record::ELSEWHERE;
use http_trace_model::event::Names;

/// Names of interfaces by index.
#[derive(Debug, Default)]
pub struct Interfaces {
    names: HashMap<u32, Arc<str>, foldhash::fast::RandomState>,
    /// The list asked for last, which most events share.
    last: ([u32; 4], Names),
}

impl Interfaces {
    pub fn set(&mut self, index: u32, name: &str) {
        self.names.insert(index, name.into());
        self.last = Default::default();
    }

    /// The name of an index; `if7` if it is unknown or belongs to another namespace.
    pub fn name(&mut self, index: u32) -> Arc<str> {
        self.names
            .entry(index)
            .or_insert_with(|| format!("if{}", index & !ELSEWHERE).into())
            .clone()
    }

    /// The names of all indexes that are not 0.
    pub fn names(&mut self, indexes: [u32; 4]) -> Names {
        if self.last.0 != indexes {
            let known = indexes.into_iter().filter(|&index| index != 0);
            self.last = (indexes, known.map(|index| self.name(index)).collect());
        }
        self.last.1.clone()
    }
}

/// Events of failed connection attempts in the current second.
#[derive(Debug, Default)]
pub struct Attempts {
    second: u64,
    count: u32,
}

impl Attempts {
    /// Whether one more is within the limit.
    pub fn admit(&mut self, now_ns: u64, per_second: u32) -> bool {
        let second = now_ns / 1_000_000_000;
        if self.second != second {
            *self = Attempts { second, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count <= per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_of_another_namespace_has_no_name_from_here() {
        let mut interfaces = Interfaces::default();
        interfaces.set(2, "wan");
        let names = interfaces.names([2, 2 | ELSEWHERE, 0, 7 | ELSEWHERE]);
        assert_eq!(*names, ["wan", "if2", "if7"].map(Arc::from));
    }
}
