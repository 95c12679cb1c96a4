//! The one macro behind every catalogue of methods.
//!
//! A crate with a family of methods lists them once, in its `lib.rs`. The list is the only place
//! that names a method: configuration files, listings and the conformance tests all walk it.
//!
//! ```
//! pub trait Schedule {
//!     fn bits(&self, step: u64) -> u32;
//! }
//!
//! mod constant {
//!     use serde::{Deserialize, Serialize};
//!
//!     /// One width from the first step to the last.
//!     #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
//!     #[serde(default, deny_unknown_fields)]
//!     pub struct Constant {
//!         /// The width.
//!         pub bits: u32,
//!     }
//!
//!     impl Default for Constant {
//!         fn default() -> Self {
//!             Self { bits: 8 }
//!         }
//!     }
//!
//!     impl super::Schedule for Constant {
//!         fn bits(&self, _step: u64) -> u32 {
//!             self.bits
//!         }
//!     }
//! }
//!
//! registry::methods! {
//!     /// Every schedule.
//!     pub enum AnySchedule: dyn Schedule {
//!         /// One width from the first step to the last.
//!         constant::Constant = "constant",
//!     }
//! }
//!
//! fn main() {
//!     assert_eq!(AnySchedule::NAMES, ["constant"]);
//!     let [schedule] = &AnySchedule::all()[..] else { unreachable!() };
//!     assert_eq!(schedule.about(), "One width from the first step to the last.");
//!     assert_eq!(schedule.as_dyn().bits(0), 8);
//! }
//! ```
//!
//! Each entry is `module::Struct = "name"`, where `Struct` is `Debug + Clone + PartialEq + Default +
//! Serialize + Deserialize` and implements the trait. Names on disk are literals, so that a renamed
//! struct breaks no file. The crate that calls the macro depends on `serde` with `derive`.

/// Turns a list of method structs into a serialisable enum, tagged by `kind`.
#[macro_export]
macro_rules! methods {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident: dyn $method:path {
            $($(#[doc = $about:literal])+ $module:ident::$variant:ident = $kind:literal),+ $(,)?
        }
    ) => {
        $($vis use $module::$variant;)+

        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "kind")]
        #[non_exhaustive]
        $vis enum $name {
            $($(#[doc = $about])+ #[serde(rename = $kind)] $variant($variant)),+
        }

        impl $name {
            /// The `kind` of every method, in listing order.
            pub const NAMES: &[&str] = &[$($kind),+];

            /// Every method at its default settings. Drives the conformance tests and the listings.
            pub fn all() -> Vec<Self> {
                vec![$(Self::$variant($variant::default())),+]
            }

            /// The `kind` written in configuration files.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $kind),+ }
            }

            /// What the method is, in a line: the doc comment of its entry.
            pub fn about(&self) -> &'static str {
                match self { $(Self::$variant(_) => concat!($($about),+).trim_ascii()),+ }
            }

            /// The method itself.
            pub fn as_dyn(&self) -> &dyn $method {
                match self { $(Self::$variant(it) => it),+ }
            }
        }

        $(impl From<$variant> for $name {
            fn from(it: $variant) -> Self { Self::$variant(it) }
        })+
    };
}
