//! Longer pages. They are in the docs alone: the module is in no build.

#[doc = include_str!("documentation/embedding.md")]
pub mod embedding {}

#[doc = include_str!("documentation/integration.md")]
pub mod integration {}

#[cfg_attr(feature = "serde", doc = include_str!("documentation/stored_form.md"))]
#[cfg_attr(not(feature = "serde"), doc = "The stored form takes feature `serde`.")]
pub mod stored_form {}

#[doc = include_str!("../tests/README.md")]
pub mod verification {}

#[doc = include_str!("../benches/README.md")]
pub mod benchmarks {}
