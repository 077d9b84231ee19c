#![doc = include_str!("../../../src/documentation/integration.md")]
