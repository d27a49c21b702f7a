//! The names that `mlc_llm` has for what is done here under others.

use anyhow::{Result, bail};
use std::{ffi::OsString, process::ExitCode};
use store::hinted;

/// Whatever follows the name of a command that is called otherwise here.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Arguments {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _arguments: Vec<OsString>,
}

/// `convert_weight`.
pub fn convert_weight() -> Result<ExitCode> {
    bail!(hinted(
        "`convert_weight` is called `model convert` here",
        "cargo xtask model convert DIR --quantization q4f16_1 -o OUT"
    ))
}

/// `gen_config`.
pub fn gen_config() -> Result<ExitCode> {
    bail!(hinted(
        "`gen_config` is called `model chat-config` here, and `model convert --conversation-template NAME` does both",
        "cargo xtask model chat-config DIR --quantization q4f16_1 --conversation-template NAME -o OUT"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn commands_of_mlc_llm_are_understood_and_explained() {
        for words in [
            &["convert_weight", "DIR", "--quantization", "q4f16_1", "-o", "OUT"][..],
            &["model", "convert_weight"],
            &["gen_config", "DIR/config.json", "--conv-template", "qwen2"],
            &["model", "gen_config", "DIR"],
        ] {
            assert!(crate::Arguments::try_parse_from([&["xtask"][..], words].concat()).is_ok(), "{words:?}");
        }
        assert!(convert_weight().unwrap_err().to_string().contains("is called `model convert` here"));
        assert!(gen_config().unwrap_err().to_string().contains("is called `model chat-config` here"));
    }
}
