//! Finds which file of a crate uses what another one defines: imports, full paths, and paths inside macro
//! calls. Ignores test code.
//!
//! A re-export (`pub use`) is an import. Using an item through a module that re-exports it imports that module
//! alone, which itself imports the file that defines the item.

use std::collections::BTreeMap;

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, Field, ImplItem, Item, ItemUse, Macro, Stmt, TraitItem, VisRestricted,
    visit::{self, Visit},
};

use super::modules::{Crate, is_for_tests, leaves};

/// The line of a file's first use of another file, and all names it uses.
#[derive(Clone, Debug, Default)]
pub struct Uses {
    pub line: usize,
    pub names: Vec<String>,
}

/// Keyed by the importing file, then the imported one.
pub type Imports = BTreeMap<(usize, usize), Uses>;

/// Every import between two files of the crate.
pub fn imports(of: &Crate) -> Imports {
    let mut found = Imports::new();
    for file in of.files.iter().filter(|file| !file.is_test) {
        let mut reader = Reader { of, module: file.module, found: &mut found };
        for item in &file.syntax.items {
            reader.visit_item(item);
        }
    }
    for uses in found.values_mut() {
        uses.names.sort();
        uses.names.dedup();
    }
    found
}

struct Reader<'a> {
    of: &'a Crate,
    module: usize,
    found: &'a mut Imports,
}

impl Reader<'_> {
    fn name(&mut self, path: &[String], line: usize) {
        // A module alone is only a path to what it defines.
        if let Some((module, [name, ..])) = self.of.target(self.module, path) {
            self.import(module, name, line);
            // The layout exempts the root, so what it re-exports counts as imported from its definer too.
            if module == 0 {
                for path in self.of.of_root(name) {
                    if let Some((module, _)) = self.of.target(0, path) {
                        self.import(module, name, line);
                    }
                }
            }
        }
    }

    fn import(&mut self, module: usize, name: &str, line: usize) {
        let from = self.of.module(self.module).file;
        let to = self.of.module(module).file;
        if from == to || self.of.module(module).is_test {
            return;
        }
        let uses = self.found.entry((from, to)).or_insert(Uses { line, names: Vec::new() });
        uses.line = uses.line.min(line);
        uses.names.push(name.to_owned());
    }

    /// Paths in unparsed tokens: `a::b`, and `a` alone.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut line = 0;
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.name(&std::mem::take(&mut path), line);
                    }
                    if path.is_empty() {
                        line = ident.span().start().line;
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.name(&std::mem::take(&mut path), line);
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.name(&path, line);
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attrs: &[Attribute] = match item {
            ImplItem::Const(item) => &item.attrs,
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Type(item) => &item.attrs,
            ImplItem::Macro(item) => &item.attrs,
            _ => &[],
        };
        if !is_for_tests(attrs) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_trait_item(&mut self, item: &'ast TraitItem) {
        let is_test = matches!(item, TraitItem::Fn(item) if is_for_tests(&item.attrs));
        if !is_test {
            visit::visit_trait_item(self, item);
        }
    }

    fn visit_field(&mut self, field: &'ast Field) {
        if !is_for_tests(&field.attrs) {
            visit::visit_field(self, field);
        }
    }

    fn visit_stmt(&mut self, stmt: &'ast Stmt) {
        let is_test = match stmt {
            Stmt::Local(local) => is_for_tests(&local.attrs),
            Stmt::Macro(call) => is_for_tests(&call.attrs),
            _ => false,
        };
        if !is_test {
            visit::visit_stmt(self, stmt);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        // A module with its own file is visited with that file.
        let inner = self.of.named(self.module, &item.ident.to_string());
        if let (Some((_, items)), Some(inner)) = (&item.content, inner) {
            let outer = std::mem::replace(&mut self.module, inner);
            for item in items {
                self.visit_item(item);
            }
            self.module = outer;
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if item.leading_colon.is_none() {
            for leaf in leaves(&item.tree) {
                self.name(&leaf.path, leaf.line);
                if leaf.name.is_none()
                    && let Some((module, [])) = self.of.target(self.module, &leaf.path)
                {
                    self.import(module, "*", leaf.line);
                }
            }
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let segments = path.segments.iter();
            let names: Vec<String> = segments.map(|segment| segment.ident.to_string()).collect();
            let line = path.segments.first().map_or(0, |first| first.ident.span().start().line);
            self.name(&names, line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let syn::Meta::List(list) = &attribute.meta
            && !["cfg", "cfg_attr", "doc", "expect", "allow"]
                .iter()
                .any(|name| list.path.is_ident(name))
        {
            let texts = list.tokens.clone().into_iter().filter_map(|token| match token {
                // `#[serde(with = "path")]`
                TokenTree::Literal(text) => syn::parse_str::<syn::LitStr>(&text.to_string()).ok(),
                _ => None,
            });
            for text in texts {
                if let Ok(path) = text.parse::<syn::Path>() {
                    self.visit_path(&path);
                }
            }
            self.tokens(list.tokens.clone());
        }
    }

    // `pub(in crate::a)` imports nothing.
    fn visit_vis_restricted(&mut self, _: &'ast VisRestricted) {}
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
