//! Groups of files that import one another in a loop (strongly connected components, by Tarjan).
//!
//! It knows numbers and edges only.

/// Groups of more than one node, each sorted. `edges` may use any node below `count`.
pub fn cycles(count: usize, edges: impl Iterator<Item = (usize, usize)>) -> Vec<Vec<usize>> {
    let mut next = vec![Vec::new(); count];
    for (from, to) in edges {
        next[from].push(to);
    }
    let mut search = Search {
        next,
        index: vec![None; count],
        low: vec![0; count],
        is_open: vec![false; count],
        stack: Vec::new(),
        seen: 0,
        groups: Vec::new(),
    };
    for node in 0..count {
        if search.index[node].is_none() {
            search.from(node);
        }
    }
    search.groups
}

struct Search {
    next: Vec<Vec<usize>>,
    index: Vec<Option<usize>>,
    low: Vec<usize>,
    is_open: Vec<bool>,
    stack: Vec<usize>,
    seen: usize,
    groups: Vec<Vec<usize>>,
}

impl Search {
    fn from(&mut self, node: usize) {
        let own = self.seen;
        self.seen += 1;
        self.index[node] = Some(own);
        self.low[node] = own;
        self.is_open[node] = true;
        self.stack.push(node);
        for at in 0..self.next[node].len() {
            let to = self.next[node][at];
            match self.index[to] {
                None => {
                    self.from(to);
                    self.low[node] = self.low[node].min(self.low[to]);
                }
                Some(index) if self.is_open[to] => self.low[node] = self.low[node].min(index),
                Some(_) => {}
            }
        }
        if self.low[node] == own {
            let mut group = Vec::new();
            while let Some(last) = self.stack.pop() {
                self.is_open[last] = false;
                group.push(last);
                if last == node {
                    break;
                }
            }
            if group.len() > 1 {
                group.sort_unstable();
                self.groups.push(group);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::cycles;

    #[test]
    fn loops_are_found_and_chains_are_not() {
        let edges = [(0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 3), (5, 0)];
        let mut found = cycles(6, edges.into_iter());
        found.sort();
        assert_eq!(found, [vec![0, 1, 2], vec![3, 4]]);
        assert!(cycles(3, [(0, 1), (1, 2), (0, 2)].into_iter()).is_empty());
    }
}
