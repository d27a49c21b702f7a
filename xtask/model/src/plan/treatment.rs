//! What is done with a parameter, and which tensors come out.

use super::{Job, Output};
use crate::{
    architecture::{Parameter, Role},
    dtype::Dtype,
    fp8,
    kernel::Work,
    quantization::{Kind, Scheme},
    rows::Arrangement,
};
use anyhow::{Result, ensure};
use store::hinted;

/// What is done, and what comes out.
pub(super) fn treatment(
    parameter: &Parameter,
    scheme: &Scheme,
    shape: &mut Vec<u64>,
    columns: u64,
    source: Dtype,
) -> Result<Job> {
    let name = &parameter.name;
    // Binary64 is cast to the type of the model when it is read.
    let wide = source == Dtype::F64 && !parameter.widened;
    let stored_wide = parameter.wide || name.ends_with(".weight_scale_inv");
    let source = match source {
        Dtype::F64 if stored_wide || parameter.widened => Dtype::F32,
        Dtype::F64 => scheme.dtype,
        other => other,
    };
    let make = |work, scaled, outputs| Job {
        name: String::new(),
        sources: Vec::new(),
        source,
        plus_one: parameter.plus_one && wide,
        arrangement: Arrangement::Stacked,
        rows: 0,
        columns: 0,
        work,
        scaled,
        outputs,
    };
    let output = |shape: &[u64], dtype| Output::new(name.clone(), shape.to_vec(), dtype);
    let with = |suffix: &str| name.strip_suffix("weight").unwrap_or(name).to_owned() + suffix;
    let quantized = parameter.weight && quantizes(parameter, scheme, shape);
    if name.ends_with(".qweight") || name.ends_with(".qzeros") {
        ensure!(matches!(source, Dtype::I32 | Dtype::U32), "it is made of {}, not of int32", source.name());
        return Ok(make(Work::Copy, false, vec![output(shape, Dtype::U32)]));
    }
    if matches!(scheme.kind, Kind::BlockScale { .. }) && quantized && name.ends_with(".weight") {
        ensure!(source == Dtype::F8E4M3, "it is made of {}, not of float8_e4m3fn", source.name());
        return Ok(make(Work::Copy, false, vec![output(shape, Dtype::F8E4M3)]));
    }
    ensure!(
        matches!(source, Dtype::F16 | Dtype::Bf16 | Dtype::F32),
        "it is made of {}; only float16, bfloat16, float32 and float64 are converted",
        source.name()
    );
    match scheme.kind {
        Kind::Group(group) if quantized => {
            let transposed = group.transposed && parameter.role != Role::Embedding;
            ensure!(
                !(transposed && parameter.role == Role::Experts),
                hinted(
                    format!(
                        "`{}` stores linear layers transposed, which the reference does not do for experts",
                        scheme.name
                    ),
                    format!("take `{}1`", scheme.name.trim_end_matches('0'))
                )
            );
            let groups = columns.div_ceil(group.size as u64);
            let mut scales = std::mem::take(shape);
            scales.pop();
            let mut codes = scales.clone();
            codes.push(4 * groups);
            scales.push(groups);
            if transposed {
                codes.reverse();
                scales.reverse();
            }
            let outputs = vec![
                Output::new(with("q_weight"), codes, Dtype::U32),
                Output::new(with("q_scale"), scales, scheme.dtype),
            ];
            Ok(make(Work::Group { group, dtype: scheme.dtype, transposed }, false, outputs))
        }
        Kind::Float8 { dtype, scale, calibration } if quantized => {
            let layout = if dtype == Dtype::F8E4M3 { fp8::E4M3 } else { fp8::E5M2 };
            let mut outputs = vec![Output::new(with("q_weight"), shape.clone(), dtype)];
            if scale {
                outputs.push(Output::new(with("q_scale"), vec![1], Dtype::F32));
            }
            if calibration {
                outputs.push(Output::new(with("q_calibration_scale"), vec![1], Dtype::F32));
            }
            Ok(make(Work::Float8 { layout, scale: None }, scale, outputs))
        }
        _ => {
            let dtype = if stored_wide { Dtype::F32 } else { scheme.dtype };
            let plus_one = parameter.plus_one && !wide;
            Ok(make(Work::Cast { dtype, plus_one }, false, vec![output(shape, dtype)]))
        }
    }
}

/// Whether a scheme quantizes a weight.
pub(super) fn quantizes(parameter: &Parameter, scheme: &Scheme, shape: &[u64]) -> bool {
    let ends = matches!(scheme.kind, Kind::Group(group) if group.ends);
    match parameter.role {
        Role::Linear | Role::Experts => scheme.kind != Kind::Cast,
        Role::Embedding | Role::Head => ends,
        // The reference knows routers by their name and size.
        Role::Router => scheme.kind != Kind::Cast && shape[0] > 256,
        Role::Norm => false,
    }
}
