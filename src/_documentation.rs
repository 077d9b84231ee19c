//! Longer pages. They are in the docs alone: the module is in no build.

#[doc = include_str!("documentation/embedding.md")]
pub mod embedding {}

// Its code takes other libraries: `examples/integration` tests it.
#[cfg_attr(not(doctest), doc = include_str!("documentation/integration.md"))]
pub mod integration {}

#[cfg_attr(feature = "serde", doc = include_str!("documentation/stored_form.md"))]
#[cfg_attr(not(feature = "serde"), doc = "The stored form takes feature `serde`.")]
pub mod stored_form {}

// Where the page's links lead in the docs: of two definitions, the first counts.
/// [stories]: stories
/// [bank]: https://docs.rs/task-lifecycle-conformance
/// [service]: embedding#to-copy
/// [Embedding]: embedding
/// [`vectors/`]: vectors
///
#[doc = include_str!("../tests/README.md")]
pub mod verification {}

#[doc = include_str!("../tests/STORIES.md")]
pub mod stories {}

#[doc = include_str!("../tests/vectors/README.md")]
pub mod vectors {}

#[doc = include_str!("../benches/README.md")]
pub mod benchmarks {}
