//! The types of a tensor's elements.

/// The type of a tensor's elements, in a checkpoint or in MLC's container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// IEEE 754 binary64, in checkpoints alone.
    F64,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of a binary32.
    Bf16,
    /// 8 bits, 4 of exponent, 3 of mantissa, no infinities.
    F8E4M3,
    /// 8 bits, 5 of exponent, 2 of mantissa.
    F8E5M2,
    /// Packed codes.
    U32,
    /// Packed codes as AutoAWQ stores them.
    I32,
    /// Something that no parameter is made of (masks, position ids), by its name.
    Other(&'static str),
}

impl Dtype {
    /// The name that MLC's container uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "float64",
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
            Self::F8E4M3 => "float8_e4m3fn",
            Self::F8E5M2 => "float8_e5m2",
            Self::U32 => "uint32",
            Self::I32 => "int32",
            Self::Other(name) => name,
        }
    }

    /// The type that MLC's container calls `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::F32, Self::F16, Self::Bf16, Self::F8E4M3, Self::F8E5M2, Self::U32, Self::I32]
            .into_iter()
            .find(|dtype| dtype.name() == name)
    }

    /// The type that NumPy gives a concatenation of two of these, if it does.
    pub(crate) fn common(self, other: Self) -> Option<Self> {
        match (self, other) {
            (a, b) if a == b => Some(a),
            (Self::F64, Self::F32 | Self::F16 | Self::Bf16)
            | (Self::F32 | Self::F16 | Self::Bf16, Self::F64) => Some(Self::F64),
            (Self::F32, Self::F16 | Self::Bf16) | (Self::F16 | Self::Bf16, Self::F32) => Some(Self::F32),
            _ => None,
        }
    }

    /// Bytes of one element; 0 for [`Dtype::Other`].
    pub fn size(self) -> u64 {
        match self {
            Self::F64 => 8,
            Self::F32 | Self::U32 | Self::I32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::F8E4M3 | Self::F8E5M2 => 1,
            Self::Other(_) => 0,
        }
    }

    /// Bytes of one element in a shard: float32 is stored as bfloat16.
    pub fn stored_size(self) -> u64 {
        if self == Self::F32 { 2 } else { self.size() }
    }
}

impl From<safetensors::Dtype> for Dtype {
    fn from(dtype: safetensors::Dtype) -> Self {
        use safetensors::Dtype as S;
        match dtype {
            S::F64 => Self::F64,
            S::F32 => Self::F32,
            S::F16 => Self::F16,
            S::BF16 => Self::Bf16,
            S::F8_E4M3 => Self::F8E4M3,
            S::F8_E5M2 => Self::F8E5M2,
            S::U32 => Self::U32,
            S::I32 => Self::I32,
            S::BOOL => Self::Other("bool"),
            S::U8 => Self::Other("uint8"),
            S::I8 => Self::Other("int8"),
            S::I16 => Self::Other("int16"),
            S::U16 => Self::Other("uint16"),
            S::I64 => Self::Other("int64"),
            S::U64 => Self::Other("uint64"),
            _ => Self::Other("another type"),
        }
    }
}
