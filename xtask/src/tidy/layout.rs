//! Reads the order of a crate's top-level modules from the `# Layout` list in its root's docs: each module
//! imports only from those above it.

use syn::{Expr, ExprLit, Lit, Meta};

use super::modules::Crate;

/// The linked top-level modules of the `# Layout` list, in order; `None` if there are none. Links outside
/// list items do not count.
pub fn order(of: &Crate) -> Option<Vec<String>> {
    let head = head(of);
    let mut lines = head.lines().map(str::trim);
    lines.find(|line| line.eq_ignore_ascii_case("# Layout"))?;
    let mut names: Vec<String> = Vec::new();
    let mut is_in_item = false;
    for line in lines.take_while(|line| !line.starts_with("# ")) {
        if line.starts_with("- ") || line.starts_with("* ") {
            is_in_item = true;
        } else if line.is_empty() {
            is_in_item = false;
        }
        if !is_in_item {
            continue;
        }
        for name in links(line) {
            if of.named(0, name).is_some() && !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
    }
    (!names.is_empty()).then_some(names)
}

/// Names of links of the form `` [`name`] ``, without paths into modules.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("[`").skip(1).filter_map(|rest| {
        let (name, _) = rest.split_once("`]")?;
        name.chars().all(|c| c.is_alphanumeric() || c == '_').then_some(name)
    })
}

/// The `//!` lines of the crate's root.
fn head(of: &Crate) -> String {
    let mut head = String::new();
    for attribute in &of.file(0).syntax.attrs {
        if let Meta::NameValue(pair) = &attribute.meta
            && pair.path.is_ident("doc")
            && let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &pair.value
        {
            head.push_str(&text.value());
            head.push('\n');
        }
    }
    head
}
