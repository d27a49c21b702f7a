//! Pickles as `torch.save` writes them for tensors, and nothing else.
//!
//! Pickles are programs. Of their instructions those are read that build lists, dictionaries, texts and numbers; of the
//! functions that they may call, the few that put tensors together, and these are not called: what they would do is
//! known. It is what `torch.load` allows by `weights_only`, less what no checkpoint of a model has.

use crate::dtype::Dtype;
use anyhow::{Context, Result, bail, ensure};
use std::{collections::HashMap, rc::Rc};

/// A tensor of a pickle: which elements of which storage it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pickled {
    pub dtype: Dtype,
    /// Bytes of an element, also of types that no parameter is made of.
    pub element: u64,
    pub shape: Vec<u64>,
    /// The storage's name.
    pub storage: Rc<str>,
    /// Elements of the storage.
    pub length: u64,
    /// Its first element.
    pub start: u64,
}

/// Types of storages, their elements and their sizes.
const STORAGES: [(&str, Dtype, u64); 10] = [
    ("DoubleStorage", Dtype::F64, 8),
    ("FloatStorage", Dtype::F32, 4),
    ("HalfStorage", Dtype::F16, 2),
    ("BFloat16Storage", Dtype::Bf16, 2),
    ("LongStorage", Dtype::Other("int64"), 8),
    ("IntStorage", Dtype::I32, 4),
    ("ShortStorage", Dtype::Other("int16"), 2),
    ("CharStorage", Dtype::Other("int8"), 1),
    ("ByteStorage", Dtype::Other("uint8"), 1),
    ("BoolStorage", Dtype::Other("bool"), 1),
];

/// A place among the values that were made.
type Id = usize;

enum Value {
    None,
    /// A number that no shape has, or a truth value.
    Other,
    Whole(i64),
    Text(String),
    Sequence(Vec<Id>),
    Dictionary(Vec<(Id, Id)>),
    /// A function or a class, as far as it is allowed.
    Global(Global),
    Storage {
        dtype: Dtype,
        element: u64,
        name: Rc<str>,
        length: u64,
    },
    Tensor(Pickled),
}

#[derive(Clone, Copy)]
enum Global {
    OrderedDictionary,
    Tensor,
    Parameter,
    Storage(Dtype, u64),
}

/// The tensors that the dictionary in `bytes` names, in its order. Names without a tensor are left out, as in the
/// reference.
///
/// # Errors
/// When the pickle does anything but build that dictionary.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<(String, Pickled)>> {
    let mut machine = Machine { rest: bytes, ..Machine::default() };
    let top = machine.run().with_context(|| format!("at byte {}", bytes.len() - machine.rest.len()))?;
    machine.tensors(top)
}

#[derive(Default)]
struct Machine<'a> {
    rest: &'a [u8],
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Where the open lists and dictionaries begin.
    marks: Vec<usize>,
    memory: HashMap<u32, Id>,
    /// The only empty value and the only other one, which take no room each time.
    none: Option<Id>,
    other: Option<Id>,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Id> {
        loop {
            let instruction = self.take(1)?[0];
            match instruction {
                // The version, and the length of a part: nothing to do.
                0x80 => ensure!(self.take(1)?[0] <= 5, "it is of a version that is not known"),
                0x95 => _ = self.take(8)?,
                b'(' => self.marks.push(self.stack.len()),
                b'.' => return self.pop(),
                b'N' => self.push_none(),
                0x88 | 0x89 => self.push_other(),
                b'}' => self.push(Value::Dictionary(Vec::new())),
                b']' | b')' => self.push(Value::Sequence(Vec::new())),
                b'K' => self.number(1)?,
                b'M' => self.number(2)?,
                b'J' => {
                    let number = i32::from_le_bytes(self.array()?);
                    self.push(Value::Whole(number.into()));
                }
                0x8a => {
                    let length = self.take(1)?[0];
                    self.long(length.into())?;
                }
                b'G' => {
                    self.take(8)?;
                    self.push_other();
                }
                b'X' => {
                    let length = u32::from_le_bytes(self.array()?);
                    self.text(length as usize)?;
                }
                0x8c => {
                    let length = self.take(1)?[0];
                    self.text(length.into())?;
                }
                0x85..=0x87 => self.tuple(usize::from(instruction - 0x84))?,
                b't' => {
                    let items = self.since_mark()?;
                    self.push(Value::Sequence(items));
                }
                b'a' => self.append(|machine| Ok(vec![machine.pop()?]))?,
                b'e' => self.append(Self::since_mark)?,
                b's' => self.set(|machine| {
                    let value = machine.pop()?;
                    Ok(vec![machine.pop()?, value])
                })?,
                b'u' => self.set(Self::since_mark)?,
                b'q' => {
                    let place = self.take(1)?[0];
                    self.remember(place.into())?;
                }
                b'r' => {
                    let place = u32::from_le_bytes(self.array()?);
                    self.remember(place)?;
                }
                0x94 => self.remember(self.memory.len() as u32)?,
                b'h' => {
                    let place = self.take(1)?[0];
                    self.recall(place.into())?;
                }
                b'j' => {
                    let place = u32::from_le_bytes(self.array()?);
                    self.recall(place)?;
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.push(Value::Global(global(module, name)?));
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let found = global(self.text_of(module)?, self.text_of(name)?)?;
                    self.push(Value::Global(found));
                }
                b'Q' => self.storage()?,
                b'R' => self.call()?,
                b'b' => self.build()?,
                other => bail!("it has the instruction {other:#04x}, which no checkpoint needs"),
            }
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length).context("it ends too early")?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into()?)
    }

    fn line(&mut self) -> Result<&'a str> {
        let end = self.rest.iter().position(|byte| *byte == b'\n').context("a line has no end")?;
        let line = std::str::from_utf8(self.take(end)?)?;
        self.take(1)?;
        Ok(line)
    }

    fn push(&mut self, value: Value) {
        self.values.push(value);
        self.stack.push(self.values.len() - 1);
    }

    fn push_none(&mut self) {
        match self.none {
            Some(none) => self.stack.push(none),
            None => {
                self.push(Value::None);
                self.none = self.stack.last().copied();
            }
        }
    }

    fn push_other(&mut self) {
        match self.other {
            Some(other) => self.stack.push(other),
            None => {
                self.push(Value::Other);
                self.other = self.stack.last().copied();
            }
        }
    }

    fn number(&mut self, length: usize) -> Result<()> {
        let number = self.take(length)?.iter().rev().fold(0, |number, byte| (number << 8) | i64::from(*byte));
        self.push(Value::Whole(number));
        Ok(())
    }

    fn long(&mut self, length: usize) -> Result<()> {
        let bytes = self.take(length)?;
        ensure!(length <= 8, "it has a number of {length} bytes");
        let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
        let mut number = [if negative { 0xff } else { 0 }; 8];
        number[..length].copy_from_slice(bytes);
        self.push(Value::Whole(i64::from_le_bytes(number)));
        Ok(())
    }

    fn text(&mut self, length: usize) -> Result<()> {
        let text = std::str::from_utf8(self.take(length)?)?.to_owned();
        self.push(Value::Text(text));
        Ok(())
    }

    /// What a list that is open may not reach below.
    fn pop(&mut self) -> Result<Id> {
        let bottom = self.marks.last().copied().unwrap_or(0);
        ensure!(self.stack.len() > bottom, "it takes a value where there is none");
        self.stack.pop().context("it takes a value where there is none")
    }

    fn top(&self) -> Result<Id> {
        self.stack.last().copied().context("it uses a value where there is none")
    }

    fn since_mark(&mut self) -> Result<Vec<Id>> {
        let mark = self.marks.pop().context("a list ends that did not begin")?;
        Ok(self.stack.split_off(mark))
    }

    fn tuple(&mut self, length: usize) -> Result<()> {
        let mut items = (0..length).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
        items.reverse();
        self.push(Value::Sequence(items));
        Ok(())
    }

    fn append(&mut self, items: impl Fn(&mut Self) -> Result<Vec<Id>>) -> Result<()> {
        let items = items(self)?;
        let top = self.top()?;
        let Value::Sequence(list) = &mut self.values[top] else { bail!("it appends to what is not a list") };
        list.extend(items);
        Ok(())
    }

    fn set(&mut self, items: impl Fn(&mut Self) -> Result<Vec<Id>>) -> Result<()> {
        let items = items(self)?;
        let top = self.top()?;
        let Value::Dictionary(pairs) = &mut self.values[top] else { bail!("it sets keys of what has none") };
        ensure!(items.len() % 2 == 0, "a key has no value");
        pairs.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
        Ok(())
    }

    fn remember(&mut self, place: u32) -> Result<()> {
        let top = self.top()?;
        self.memory.insert(place, top);
        Ok(())
    }

    fn recall(&mut self, place: u32) -> Result<()> {
        let id = *self.memory.get(&place).context("it recalls what it did not remember")?;
        self.stack.push(id);
        Ok(())
    }

    fn text_of(&self, id: Id) -> Result<&str> {
        match &self.values[id] {
            Value::Text(text) => Ok(text),
            _ => bail!("something that should be a text is none"),
        }
    }

    fn size_of(&self, id: Id) -> Result<u64> {
        match &self.values[id] {
            Value::Whole(number) => u64::try_from(*number).context("a size is negative"),
            _ => bail!("something that should be a number is none"),
        }
    }

    fn items(&self, id: Id) -> Result<&[Id]> {
        match &self.values[id] {
            Value::Sequence(items) => Ok(items),
            _ => bail!("something that should be a list is none"),
        }
    }

    fn sizes_of(&self, id: Id) -> Result<Vec<u64>> {
        let items = self.items(id)?;
        ensure!(items.len() <= 16, "a tensor has {} dimensions", items.len());
        items.iter().map(|item| self.size_of(*item)).collect()
    }

    /// `('storage', TYPE, NAME, PLACE, LENGTH)`: the elements are in another file.
    fn storage(&mut self) -> Result<()> {
        let id = self.pop()?;
        let &[kind, class, name, _, length] = self.items(id)? else { bail!("a storage has other fields") };
        ensure!(self.text_of(kind)? == "storage", "it refers to what is not a storage");
        let Value::Global(Global::Storage(dtype, element)) = self.values[class] else {
            bail!("a storage has no type")
        };
        let (name, length) = (Rc::from(self.text_of(name)?), self.size_of(length)?);
        self.push(Value::Storage { dtype, element, name, length });
        Ok(())
    }

    fn call(&mut self) -> Result<()> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let Value::Global(function) = self.values[function] else { bail!("it calls what is not a function") };
        match (function, self.items(arguments)?) {
            (Global::OrderedDictionary, []) => self.push(Value::Dictionary(Vec::new())),
            (Global::Tensor, &[storage, start, shape, strides, ..]) => {
                let tensor = self.tensor(storage, start, shape, strides)?;
                self.push(Value::Tensor(tensor));
            }
            (Global::Parameter, &[tensor, ..]) => self.stack.push(tensor),
            _ => bail!("it calls a function with other values than it has"),
        }
        Ok(())
    }

    fn tensor(&self, storage: Id, start: Id, shape: Id, strides: Id) -> Result<Pickled> {
        let Value::Storage { dtype, element, name, length } = &self.values[storage] else {
            bail!("a tensor has no storage")
        };
        let (start, shape, strides) = (self.size_of(start)?, self.sizes_of(shape)?, self.sizes_of(strides)?);
        let mut count = 1_u64;
        let empty = shape.contains(&0);
        ensure!(shape.len() == strides.len(), "a tensor has other strides than dimensions");
        for (size, stride) in shape.iter().zip(&strides).rev() {
            ensure!(
                empty || *size == 1 || *stride == count,
                "a tensor of the shape {shape:?} is stored with the strides {strides:?}: its elements do not follow one another"
            );
            count = count.checked_mul(*size).context("a tensor is too large")?;
        }
        let end = start.checked_add(count).context("a tensor is too large")?;
        ensure!(end <= *length, "a tensor ends after its storage");
        Ok(Pickled { dtype: *dtype, element: *element, shape, storage: name.clone(), length: *length, start })
    }

    /// Attributes, which dictionaries of checkpoints have (`_metadata`); they do not matter.
    fn build(&mut self) -> Result<()> {
        self.pop()?;
        let top = self.top()?;
        ensure!(matches!(self.values[top], Value::Dictionary(_)), "it gives attributes to what has none");
        Ok(())
    }

    /// The tensors of the dictionary that the pickle makes.
    fn tensors(&self, top: Id) -> Result<Vec<(String, Pickled)>> {
        let Value::Dictionary(pairs) = &self.values[top] else { bail!("it is not a dictionary of tensors") };
        let mut tensors: Vec<(String, Option<Pickled>)> = Vec::with_capacity(pairs.len());
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (key, value) in pairs {
            let name = self.text_of(*key).context("a name in the dictionary is not text")?;
            let tensor = match &self.values[*value] {
                Value::Tensor(tensor) => Some(tensor.clone()),
                Value::None => None,
                _ => bail!(
                    "`{}` is not a tensor; a checkpoint with more than the model's weights is not read",
                    name.escape_debug()
                ),
            };
            match places.get(name) {
                Some(place) => tensors[*place].1 = tensor,
                None => {
                    places.insert(name, tensors.len());
                    tensors.push((name.to_owned(), tensor));
                }
            }
        }
        Ok(tensors.into_iter().filter_map(|(name, tensor)| Some((name, tensor?))).collect())
    }
}

/// What a pickle may name.
fn global(module: &str, name: &str) -> Result<Global> {
    let storage = STORAGES.into_iter().find(|(class, ..)| *class == name);
    Ok(match (module, name, storage) {
        ("collections", "OrderedDict", _) => Global::OrderedDictionary,
        ("torch._utils", "_rebuild_tensor_v2", _) => Global::Tensor,
        ("torch._utils", "_rebuild_parameter", _) => Global::Parameter,
        ("torch", _, Some((_, dtype, element))) => Global::Storage(dtype, element),
        _ => bail!("it wants to run `{}.{}`, which is not done", module.escape_debug(), name.escape_debug()),
    })
}
