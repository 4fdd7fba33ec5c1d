//! Checks one crate: no large import cycle, no import against the order of `# Layout`.

use std::{collections::BTreeSet, path::Path};

use super::{
    cycles::cycles,
    finding::Finding,
    imports::{Imports, imports},
    layout,
    modules::Crate,
};

/// The most files that may import one another in a loop.
const MOST_IN_CYCLE: usize = 3;

/// Limit of names shown per import.
const SHOWN: usize = 4;

/// Limit of imports shown per cycle.
const SHOWN_EDGES: usize = 12;

/// All findings in a crate.
pub fn check(of: &Crate) -> Vec<Finding> {
    let imports = imports(of);
    let mut found = large_cycles(of, &imports);
    found.extend(back_edges(of, &imports));
    found
}

fn large_cycles(of: &Crate, imports: &Imports) -> Vec<Finding> {
    let mut found = Vec::new();
    for group in cycles(of.files.len(), imports.keys().copied()) {
        if group.len() <= MOST_IN_CYCLE {
            continue;
        }
        // An import of few names is the easiest to remove.
        let mut inside: Vec<_> = imports
            .iter()
            .filter(|((from, to), _)| group.contains(from) && group.contains(to))
            .collect();
        inside.sort_by_key(|(_, uses)| uses.names.len());
        let listed: BTreeSet<_> = group.iter().map(|&id| shown(&of.file(id).path)).collect();
        let listed: Vec<_> = listed.into_iter().collect();
        let mut text = format!(
            "{} files import one another in a loop ({MOST_IN_CYCLE} are allowed): move what two of \
             them share into a file that imports neither.\n    files: {}\n    imports, fewest names first:",
            group.len(),
            listed.join(" ")
        );
        for ((from, to), uses) in inside.iter().take(SHOWN_EDGES) {
            text.push_str(&format!(
                "\n    {}:{} imports {} ({})",
                shown(&of.file(*from).path),
                uses.line,
                shown(&of.file(*to).path),
                some(&uses.names)
            ));
        }
        if inside.len() > SHOWN_EDGES {
            text.push_str(&format!("\n    … and {} more", inside.len() - SHOWN_EDGES));
        }
        let first = inside.first().map_or((group[0], 1), |((from, _), uses)| (*from, uses.line));
        found.push(Finding::at(&of.file(first.0).path, first.1, text));
    }
    found
}

fn back_edges(of: &Crate, imports: &Imports) -> Vec<Finding> {
    let tops: BTreeSet<&str> = of
        .modules
        .iter()
        .filter(|module| module.path.len() == 1 && !module.is_test)
        .map(|module| module.path[0].as_str())
        .collect();
    let root = &of.file(0).path;
    let Some(order) = layout::order(of) else {
        let is_library = root.file_name().is_some_and(|file| file == "lib.rs");
        if tops.len() < 2 || !is_library {
            return Vec::new();
        }
        let text = "the crate's head has no `# Layout` list: name its modules in it, each below those \
                    that it imports";
        return vec![Finding::at(root, 1, text)];
    };
    let mut found = Vec::new();
    for missing in tops.iter().filter(|top| !order.iter().any(|name| name == *top)) {
        found.push(Finding::at(
            root,
            1,
            format!("`{missing}` is not in the `# Layout` list: add it below all that it imports"),
        ));
    }
    let rank = |top: &str| order.iter().position(|name| name == top);
    for ((from, to), uses) in imports {
        let (Some(above), Some(below)) = (of.top(*from), of.top(*to)) else {
            continue;
        };
        let (Some(own), Some(taken)) = (rank(above), rank(below)) else {
            continue;
        };
        if taken <= own {
            continue;
        }
        found.push(Finding::at(
            &of.file(*from).path,
            uses.line,
            format!(
                "`{above}` imports `{below}` ({}, of {}), which stands below it in the crate's \
                 `# Layout`: move what it needs up, or hand it in; if the list is wrong, mend the list",
                some(&uses.names),
                shown(&of.file(*to).path),
            ),
        ));
    }
    found
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn some(names: &[String]) -> String {
    let mut text = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}
