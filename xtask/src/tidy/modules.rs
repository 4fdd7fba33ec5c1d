//! Reads the modules of one crate from its sources with `syn`: the file of each, and the names it defines,
//! imports and re-exports. Resolves a path to the module that defines its target.
//!
//! Follows `mod` declarations as rustc does. Must not know the rules that are checked.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    rc::Rc,
};

use anyhow::{Context, Result};
use syn::{
    Attribute, Expr, ExprLit, Item, ItemMod, ItemUse, Lit, Meta, UseTree, Visibility,
    punctuated::Punctuated, visit::Visit,
};

/// Reads a source file; `None` if there is none.
pub type Read<'a> = dyn Fn(&Path) -> Option<String> + 'a;

/// One file of a crate.
pub struct SourceFile {
    pub path: PathBuf,
    pub lines: usize,
    /// Lines of inline `#[cfg(test)] mod …` blocks.
    pub test_lines: usize,
    pub syntax: Rc<syn::File>,
    /// The module whose body this file is.
    pub module: usize,
    /// Compiled for tests only.
    pub is_test: bool,
}

/// One module, inline or in a file of its own.
#[derive(Debug)]
pub struct Module {
    /// Names from the crate's root; empty for the root.
    pub path: Vec<String>,
    pub parent: Option<usize>,
    pub file: usize,
    pub is_test: bool,
    names: HashMap<String, Vec<Name>>,
    globs: Vec<Import>,
}

#[derive(Clone, Debug)]
struct Name {
    meaning: Meaning,
    is_public: bool,
}

#[derive(Clone, Debug)]
enum Meaning {
    Module(usize),
    /// Anything else that is defined in this module.
    Item,
    /// An exported macro: its path begins at the root, whatever module defines it.
    Macro(Vec<String>),
    Import(Vec<String>),
}

#[derive(Clone, Debug)]
struct Import {
    path: Vec<String>,
    is_public: bool,
}

/// What a path names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Found {
    Module(usize),
    /// An item of this module.
    Item(usize),
}

/// All modules that belong to one crate root (`lib.rs`, `main.rs` or a file of `src/bin`).
#[derive(Default)]
pub struct Crate {
    pub files: Vec<SourceFile>,
    pub modules: Vec<Module>,
}

impl Crate {
    /// Reads the root and every module that it declares.
    pub fn load(root: &Path, read: &Read) -> Result<Crate> {
        let mut whole = Crate::default();
        whole.add_file(root, true, Vec::new(), None, false, read)?;
        Ok(whole)
    }

    fn add_file(
        &mut self,
        path: &Path,
        is_mod_rs: bool,
        names: Vec<String>,
        parent: Option<usize>,
        is_test: bool,
        read: &Read,
    ) -> Result<usize> {
        let text = read(path).with_context(|| format!("{} is missing", path.display()))?;
        let syntax = syn::parse_file(&text).with_context(|| path.display().to_string())?;
        let syntax = Rc::new(syntax);
        let is_test = is_test || is_for_tests(&syntax.attrs);
        let file = self.files.len();
        let module = self.add_module(names, parent, file, is_test);
        self.files.push(SourceFile {
            path: path.to_owned(),
            lines: text.lines().count(),
            test_lines: syntax.items.iter().map(test_block_lines).sum(),
            syntax: Rc::clone(&syntax),
            module,
            is_test,
        });
        let folder = path.parent().unwrap_or(Path::new(""));
        // Children of `a.rs` are in `a/`; those of `a/mod.rs` and of the root are in its own folder.
        let children = if is_mod_rs {
            folder.to_owned()
        } else {
            folder.join(path.file_stem().unwrap_or_default())
        };
        self.add_items(&syntax.items, module, folder, &children, read)?;
        Ok(module)
    }

    fn add_module(
        &mut self,
        path: Vec<String>,
        parent: Option<usize>,
        file: usize,
        is_test: bool,
    ) -> usize {
        self.modules.push(Module {
            path,
            parent,
            file,
            is_test,
            names: HashMap::new(),
            globs: Vec::new(),
        });
        self.modules.len() - 1
    }

    fn add_items(
        &mut self,
        items: &[Item],
        module: usize,
        folder: &Path,
        children: &Path,
        read: &Read,
    ) -> Result<()> {
        for item in items {
            if let Item::Mod(declared) = item {
                self.add_declared(declared, module, folder, children, read)?;
            } else if let Some((name, vis)) = defined(item) {
                self.add_name(module, name, Meaning::Item, vis);
            }
            if let Item::Macro(rules) = item
                && rules
                    .attrs
                    .iter()
                    .any(|a| a.path().is_ident("macro_export"))
                && let Some(name) = &rules.ident
            {
                let mut path = vec!["crate".to_owned()];
                path.extend(self.module(module).path.iter().cloned());
                path.push(name.to_string());
                if path.len() > 2 {
                    self.add_name(0, name.to_string(), Meaning::Macro(path), true);
                }
            }
            let mut uses = Uses::default();
            uses.visit_item(item);
            for (import, name) in uses.found {
                match name {
                    Some(name) => {
                        self.add_name(module, name, Meaning::Import(import.path), import.is_public);
                    }
                    None => self.module_mut(module).globs.push(import),
                }
            }
        }
        Ok(())
    }

    fn add_declared(
        &mut self,
        declared: &ItemMod,
        parent: usize,
        folder: &Path,
        children: &Path,
        read: &Read,
    ) -> Result<()> {
        let name = declared.ident.to_string();
        let above = self.module(parent);
        let file = above.file;
        let is_test = above.is_test || is_for_tests(&declared.attrs);
        let mut path = above.path.clone();
        path.push(name.clone());
        let module = if let Some((_, items)) = &declared.content {
            let module = self.add_module(path, Some(parent), file, is_test);
            let below = children.join(&name);
            self.add_items(items, module, &below, &below, read)?;
            module
        } else {
            let (at, is_mod_rs) = match path_attribute(&declared.attrs) {
                Some(given) => (folder.join(given), true),
                None => {
                    let flat = children.join(format!("{name}.rs"));
                    match read(&flat) {
                        Some(_) => (flat, false),
                        None => (children.join(&name).join("mod.rs"), true),
                    }
                }
            };
            self.add_file(&at, is_mod_rs, path, Some(parent), is_test, read)?
        };
        let is_public = is_public(&declared.vis);
        self.add_name(parent, name, Meaning::Module(module), is_public);
        Ok(())
    }

    fn add_name(&mut self, module: usize, name: String, meaning: Meaning, is_public: bool) {
        let names = self.module_mut(module).names.entry(name).or_default();
        names.push(Name { meaning, is_public });
    }

    pub fn module(&self, id: usize) -> &Module {
        &self.modules[id]
    }

    fn module_mut(&mut self, id: usize) -> &mut Module {
        &mut self.modules[id]
    }

    pub fn file(&self, id: usize) -> &SourceFile {
        &self.files[id]
    }

    /// The top-level module that a file belongs to; `None` for the root.
    pub fn top(&self, file: usize) -> Option<&str> {
        let module = self.module(self.file(file).module);
        module.path.first().map(String::as_str)
    }

    /// The child module with this name.
    pub fn child(&self, module: usize, name: &str) -> Option<usize> {
        let names = self.module(module).names.get(name)?;
        names.iter().find_map(|name| match name.meaning {
            Meaning::Module(id) => Some(id),
            _ => None,
        })
    }

    /// The possible targets of `path` within `module`; empty for paths outside this crate.
    pub fn resolve(&self, module: usize, path: &[String]) -> Vec<Found> {
        self.resolve_within(module, path, &mut Vec::new())
    }

    fn resolve_within(
        &self,
        module: usize,
        path: &[String],
        asked: &mut Vec<(usize, String)>,
    ) -> Vec<Found> {
        let Some((first, mut rest)) = path.split_first() else {
            return Vec::new();
        };
        let mut found = match first.as_str() {
            "crate" => vec![Found::Module(0)],
            "self" => vec![Found::Module(module)],
            "super" => match self.module(module).parent {
                Some(parent) => vec![Found::Module(parent)],
                None => Vec::new(),
            },
            name => self.lookup(module, module, name, asked),
        };
        while let Some((next, after)) = rest.split_first() {
            // After an item come variants and associated items, which are in the same file.
            let Some(id) = found.iter().find_map(|one| match one {
                Found::Module(id) => Some(*id),
                Found::Item(_) => None,
            }) else {
                return found;
            };
            found = match next.as_str() {
                "super" => self
                    .module(id)
                    .parent
                    .map(Found::Module)
                    .into_iter()
                    .collect(),
                "self" => vec![Found::Module(id)],
                name => self.lookup(id, module, name, asked),
            };
            rest = after;
        }
        found
    }

    /// The targets of `name` in `module`, as visible to code in `asker`.
    fn lookup(
        &self,
        module: usize,
        asker: usize,
        name: &str,
        asked: &mut Vec<(usize, String)>,
    ) -> Vec<Found> {
        let question = (module, name.to_owned());
        if asked.contains(&question) {
            return Vec::new();
        }
        asked.push(question);
        let sees_private = self.is_within(asker, module);
        let here = self.module(module);
        let mut found = Vec::new();
        for known in here.names.get(name).into_iter().flatten() {
            if !known.is_public && !sees_private {
                continue;
            }
            match &known.meaning {
                Meaning::Module(id) => found.push(Found::Module(*id)),
                Meaning::Item => found.push(Found::Item(module)),
                Meaning::Import(path) | Meaning::Macro(path) => {
                    found.extend(self.resolve_within(module, path, asked));
                }
            }
        }
        if found.is_empty() {
            for glob in here
                .globs
                .iter()
                .filter(|glob| glob.is_public || sees_private)
            {
                for from in self.resolve_within(module, &glob.path, asked) {
                    if let Found::Module(id) = from {
                        found.extend(self.lookup(id, module, name, asked));
                    }
                }
            }
        }
        asked.pop();
        found
    }

    /// Whether `module` only re-exports `name`.
    pub fn hands_on(&self, module: usize, name: &str) -> bool {
        let here = self.module(module);
        match here.names.get(name) {
            Some(all) => all
                .iter()
                .all(|known| matches!(known.meaning, Meaning::Import(_))),
            None => !here.globs.is_empty(),
        }
    }

    fn is_within(&self, module: usize, ancestor: usize) -> bool {
        let mut at = Some(module);
        while let Some(id) = at {
            if id == ancestor {
                return true;
            }
            at = self.module(id).parent;
        }
        false
    }
}

/// Collects the imports of an item, including those in function bodies, excluding those of inner modules.
#[derive(Default)]
struct Uses {
    /// With the bound name; `None` for a glob.
    found: Vec<(Import, Option<String>)>,
}

impl<'ast> Visit<'ast> for Uses {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if item.leading_colon.is_none() {
            let is_public = is_public(&item.vis);
            for leaf in leaves(&item.tree) {
                let import = Import {
                    path: leaf.path,
                    is_public,
                };
                self.found.push((import, leaf.name));
            }
        }
    }

    fn visit_item_mod(&mut self, _: &'ast ItemMod) {}
}

/// One path of a `use`, with nested groups expanded.
#[derive(Debug)]
pub struct Leaf {
    pub path: Vec<String>,
    /// The bound name; `None` for a glob.
    pub name: Option<String>,
    pub line: usize,
}

/// All paths of a `use`.
pub fn leaves(tree: &UseTree) -> Vec<Leaf> {
    let mut all = Vec::new();
    collect(tree, &mut Vec::new(), &mut all);
    all
}

fn collect(tree: &UseTree, prefix: &mut Vec<String>, all: &mut Vec<Leaf>) {
    let leaf = |ident: &syn::Ident, name: &syn::Ident, prefix: &[String]| {
        let mut path = prefix.to_vec();
        let mut name = name.to_string();
        if ident == "self" && !path.is_empty() {
            // `use a::b::{self}` binds `b`.
            if name == "self" {
                name = path.last().cloned().unwrap_or_default();
            }
        } else {
            path.push(ident.to_string());
        }
        Leaf {
            path,
            name: Some(name),
            line: ident.span().start().line,
        }
    };
    match tree {
        UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            collect(&path.tree, prefix, all);
            prefix.pop();
        }
        UseTree::Name(name) => all.push(leaf(&name.ident, &name.ident, prefix)),
        UseTree::Rename(rename) => all.push(leaf(&rename.ident, &rename.rename, prefix)),
        UseTree::Glob(glob) => all.push(Leaf {
            path: prefix.clone(),
            name: None,
            line: glob.star_token.spans[0].start().line,
        }),
        UseTree::Group(group) => {
            for tree in &group.items {
                collect(tree, prefix, all);
            }
        }
    }
}

/// The name of an item, and whether it is public.
fn defined(item: &Item) -> Option<(String, bool)> {
    let (name, vis) = match item {
        Item::Const(item) => (&item.ident, &item.vis),
        Item::Enum(item) => (&item.ident, &item.vis),
        Item::Fn(item) => (&item.sig.ident, &item.vis),
        Item::Static(item) => (&item.ident, &item.vis),
        Item::Struct(item) => (&item.ident, &item.vis),
        Item::Trait(item) => (&item.ident, &item.vis),
        Item::TraitAlias(item) => (&item.ident, &item.vis),
        Item::Type(item) => (&item.ident, &item.vis),
        Item::Union(item) => (&item.ident, &item.vis),
        Item::Macro(item) => return Some((item.ident.as_ref()?.to_string(), false)),
        _ => return None,
    };
    Some((name.to_string(), is_public(vis)))
}

fn is_public(vis: &Visibility) -> bool {
    !matches!(vis, Visibility::Inherited)
}

/// Lines of an inline test module, attributes included.
fn test_block_lines(item: &Item) -> usize {
    let Item::Mod(block) = item else { return 0 };
    match (&block.content, block.attrs.first()) {
        (Some((braces, _)), Some(first)) if is_for_tests(&block.attrs) => {
            braces.span.close().end().line + 1 - first.pound_token.span.start().line
        }
        _ => 0,
    }
}

fn path_attribute(attrs: &[Attribute]) -> Option<String> {
    attrs.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(ExprLit {
                lit: Lit::Str(text),
                ..
            }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    })
}

/// Whether these attributes compile an item for tests only.
pub fn is_for_tests(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute
                    .parse_args::<Meta>()
                    .is_ok_and(|meta| needs_test(&meta))
    })
}

/// `test`, the feature `testing`, `all(…)` with one of these or `any(…)` of nothing else.
fn needs_test(meta: &Meta) -> bool {
    match meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::NameValue(pair) => {
            let is_testing = |value: &Expr| matches!(value, Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) if text.value() == "testing");
            pair.path.is_ident("feature") && is_testing(&pair.value)
        }
        Meta::List(list) => {
            let inner = list.parse_args_with(Punctuated::<Meta, syn::Token![,]>::parse_terminated);
            inner.is_ok_and(|inner| match list.path.get_ident() {
                Some(name) if name == "all" => inner.iter().any(needs_test),
                Some(name) if name == "any" => inner.iter().all(needs_test),
                _ => false,
            })
        }
    }
}
