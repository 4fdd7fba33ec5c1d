//! Enumerations whose variants have names, and are typed by them.

pub use http_trace_common::named_enum as without_parser;

/// As `named_enum!` of `http-trace-common`; names can be parsed.
#[macro_export]
macro_rules! named_enum {
    ($(#[$attribute:meta])* pub enum $enum:ident { $($variants:tt)+ }) => {
        $crate::named::without_parser! {
            $(#[$attribute])*
            pub enum $enum { $($variants)+ }
        }

        impl std::str::FromStr for $enum {
            type Err = String;

            /// The error lists the names.
            fn from_str(name: &str) -> Result<Self, String> {
                Self::named(name).ok_or_else(|| Self::NAMES.join(", "))
            }
        }
    };
}
