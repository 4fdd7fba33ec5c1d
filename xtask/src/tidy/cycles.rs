//! Groups of files that import one another in a loop (strongly connected components).
//!
//! It knows numbers and edges only.

use std::collections::HashSet;

/// Groups of more than one node, each sorted. `edges` may use any node below `count`.
///
/// A crate has a few hundred files, so one search from each of them is cheap.
pub fn cycles(count: usize, edges: impl Iterator<Item = (usize, usize)>) -> Vec<Vec<usize>> {
    let mut next = vec![Vec::new(); count];
    for (from, to) in edges {
        next[from].push(to);
    }
    let reach: Vec<HashSet<usize>> = (0..count).map(|from| reached(&next, from)).collect();
    let mut groups = Vec::new();
    for from in 0..count {
        let is_mutual = |to: &usize| reach[from].contains(to) && reach[*to].contains(&from);
        let group: Vec<usize> = (0..count).filter(is_mutual).collect();
        if group.len() > 1 && group[0] == from {
            groups.push(group);
        }
    }
    groups
}

/// All nodes that edges lead to from `from`.
fn reached(next: &[Vec<usize>], from: usize) -> HashSet<usize> {
    let mut reach = HashSet::new();
    let mut open = vec![from];
    while let Some(node) = open.pop() {
        open.extend(next[node].iter().copied().filter(|&to| reach.insert(to)));
    }
    reach
}

#[cfg(test)]
mod tests {
    use super::cycles;

    #[test]
    fn loops_are_found_and_chains_are_not() {
        let edges = [(0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 3), (5, 0)];
        let found = cycles(6, edges.into_iter());
        assert_eq!(found, [vec![0, 1, 2], vec![3, 4]]);
        assert!(cycles(3, [(0, 1), (1, 2), (0, 2)].into_iter()).is_empty());
    }
}
