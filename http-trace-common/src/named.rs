//! Enumerations whose variants have names, in records, messages or settings.

/// Defines an enumeration with the name of each variant: `Reset = "reset"`. Variants are numbered from 0, in order.
#[macro_export]
macro_rules! named_enum {
    (
        $(#[$attribute:meta])*
        pub enum $enum:ident { $($(#[$of_variant:meta])* $variant:ident = $name:literal,)+ }
    ) => {
        $(#[$attribute])*
        pub enum $enum { $($(#[$of_variant])* $variant,)+ }

        impl $enum {
            /// All names, in the order of [`Self::ALL`].
            pub const NAMES: [&'static str; [$($name),+].len()] = [$($name),+];

            /// All variants, by number.
            pub const ALL: [Self; Self::NAMES.len()] = [$(Self::$variant),+];

            pub const fn name(self) -> &'static str {
                Self::NAMES[self as usize]
            }

            /// Looks up a variant by name.
            pub fn named(name: impl AsRef<[u8]>) -> Option<Self> {
                let is_it = |known: &&str| known.as_bytes() == name.as_ref();
                Some(Self::ALL[Self::NAMES.iter().position(is_it)?])
            }
        }
    };
}
