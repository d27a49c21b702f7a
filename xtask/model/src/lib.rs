//! Hugging Face checkpoints to MLC weights, to the byte as the reference converts them, and as fast as memory allows.

mod architecture;
mod cast;
mod checkpoint;
mod container;
mod convert;
mod dtype;
mod expression;
mod fp8;
mod group;
mod kernel;
mod output;
mod plan;
mod python;
mod quantization;
mod rows;
mod shards;

pub use architecture::{Architecture, Role, architecture};
pub use checkpoint::{Checkpoint, SourceFile, Tensor, read_config};
pub use container::{Metadata, ShardRecord, TENSOR_CACHE, TENSOR_CACHE_B16, TensorCache, TensorRecord};
pub use convert::{Options, Summary, convert};
pub use dtype::Dtype;
pub use kernel::Instructions;
pub use quantization::{Group, Kind, SCHEMES, Scheme, scheme};
