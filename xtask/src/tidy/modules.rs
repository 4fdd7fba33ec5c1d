//! Reads the modules of one crate from its sources with `syn`: the file of each, and the modules that it has
//! names for. Finds the deepest module on a path.
//!
//! Follows `mod` declarations as rustc does. Must not know which items a module defines, nor the rules that are
//! checked.

use std::{
    collections::{HashMap, hash_map::Entry},
    path::{Path, PathBuf},
    rc::Rc,
};

use anyhow::{Context, Result};
use syn::{
    Attribute, Expr, ExprLit, Item, ItemMod, ItemUse, Lit, Meta, UseTree, punctuated::Punctuated,
    visit::Visit,
};

/// Reads a source file; `None` if there is none.
pub type Read<'a> = dyn Fn(&Path) -> Option<String> + 'a;

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
    /// Its children and the modules that it imports, by name.
    names: HashMap<String, usize>,
}

/// All modules that belong to one crate root (`lib.rs`, `main.rs` or a file of `src/bin`).
#[derive(Default)]
pub struct Crate {
    pub files: Vec<SourceFile>,
    pub modules: Vec<Module>,
    /// Every `use`, with the module that it is in.
    uses: Vec<(usize, Leaf)>,
}

impl Crate {
    /// Reads the root and every module that it declares.
    pub fn load(root: &Path, read: &Read) -> Result<Crate> {
        let mut whole = Crate::default();
        whole.add_file(root, true, Vec::new(), None, false, read)?;
        while whole.import_modules() {}
        Ok(whole)
    }

    /// Gives each module the names of the modules that it imports; whether there were new ones, since an
    /// import may begin with an imported name.
    fn import_modules(&mut self) -> bool {
        let mut found = Vec::new();
        for (module, leaf) in &self.uses {
            match (self.target(*module, &leaf.path), &leaf.name) {
                (Some((to, [])), Some(name)) => found.push((*module, name.clone(), to)),
                (Some((to, [])), None) => {
                    let names = self.module(to).names.iter();
                    found.extend(names.map(|(name, to)| (*module, name.clone(), *to)));
                }
                _ => {}
            }
        }
        let mut is_new = false;
        for (module, name, to) in found {
            if let Entry::Vacant(entry) = self.modules[module].names.entry(name) {
                entry.insert(to);
                is_new = true;
            }
        }
        is_new
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
        self.modules.push(Module { path, parent, file, is_test, names: HashMap::new() });
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
            }
            let mut uses = Uses::default();
            uses.visit_item(item);
            self.uses.extend(uses.found.into_iter().map(|leaf| (module, leaf)));
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
        self.modules[parent].names.insert(name, module);
        Ok(())
    }

    pub fn module(&self, id: usize) -> &Module {
        &self.modules[id]
    }

    pub fn file(&self, id: usize) -> &SourceFile {
        &self.files[id]
    }

    /// The top-level module that a file belongs to; `None` for the root.
    pub fn top(&self, file: usize) -> Option<&str> {
        let module = self.module(self.file(file).module);
        module.path.first().map(String::as_str)
    }

    /// The module with this name in `module`: a child, or one that it imports.
    pub fn named(&self, module: usize, name: &str) -> Option<usize> {
        self.module(module).names.get(name).copied()
    }

    /// The deepest module on `path`, as code in `module` writes it, and what follows it; `None` outside this
    /// crate.
    pub fn target<'a>(&self, module: usize, path: &'a [String]) -> Option<(usize, &'a [String])> {
        let step = |at: usize, name: &String| match name.as_str() {
            "self" => Some(at),
            "super" => self.module(at).parent,
            name => self.named(at, name),
        };
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => 0,
            _ => step(module, first)?,
        };
        while let Some((next, after)) = rest.split_first()
            && let Some(to) = step(at, next)
        {
            (at, rest) = (to, after);
        }
        Some((at, rest))
    }

    /// The paths by which the root imports this name.
    pub fn of_root(&self, name: &str) -> impl Iterator<Item = &[String]> {
        let of_root = self.uses.iter().filter(|(module, _)| *module == 0);
        let named = of_root.filter(move |(_, leaf)| leaf.name.as_deref() == Some(name));
        named.map(|(_, leaf)| leaf.path.as_slice())
    }
}

/// Collects the imports of an item, including those in function bodies, excluding those of inner modules.
#[derive(Default)]
struct Uses {
    found: Vec<Leaf>,
}

impl<'ast> Visit<'ast> for Uses {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if item.leading_colon.is_none() {
            self.found.extend(leaves(&item.tree));
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
        Leaf { path, name: Some(name), line: ident.span().start().line }
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
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
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
                && attribute.parse_args::<Meta>().is_ok_and(|meta| needs_test(&meta))
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
