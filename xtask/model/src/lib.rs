//! Hugging Face checkpoints to MLC weights, to the byte as the reference converts them, and as fast as memory allows.

mod action;
mod added_tokens;
mod agreement;
mod architecture;
mod auto_tokenizer;
mod cast;
mod chat_config;
mod checkpoint;
mod configuration;
mod container;
mod convert;
mod dtype;
mod expression;
mod file;
mod fp8;
mod group;
mod inspect;
mod kernel;
mod lora;
mod output;
mod pickle;
mod picture;
mod plan;
mod publication;
mod python;
mod quantization;
mod recognize;
mod reference;
mod report;
mod rows;
mod sentencepiece;
mod shards;
mod sound_tokenizer;
mod source_format;
mod tokenizer;
mod tokenizer_class;
mod tokenizer_json;
mod torch;
mod verify;

pub use action::{Chat, Converted, convert_in_store, convert_through_store, place};
pub use architecture::{Architecture, Role, architecture};
pub use chat_config::{ChatOptions, chat_config, chat_config_checked, conversation_templates};
pub use checkpoint::{Checkpoint, SourceFile, Tensor, read_config};
pub use container::{
    Metadata, NDARRAY_CACHE, NDARRAY_CACHE_B16, ShardRecord, TENSOR_CACHE, TENSOR_CACHE_B16, TensorCache,
    TensorRecord,
};
pub use convert::{Options, Summary, convert, convert_with_chat};
pub use dtype::Dtype;
pub use inspect::{Difference, Inspection, TensorRow, diff, inspect};
pub use kernel::Instructions;
pub use picture::picture;
pub use quantization::{Group, Kind, SCHEMES, Scheme, scheme};
pub use recognize::{OnHub, checkpoint_directory, on_hub};
pub use reference::{Answer, DEFAULT_PROMPT, REFERENCED, Reference, Step};
pub use report::{Report, WeightError, report};
pub use verify::{read_cache, verify};
