//! A pickle as a graph of values: what it would build, with every call left uncalled.
//!
//! # Definition
//! A pickle is a program for a stack machine with a memo (CPython, `Lib/pickletools.py`). The machine is
//! run here on values that are data: containers, strings, integers, the *names* of classes and functions,
//! and objects, each a name with the arguments, items and state that it would get. Nothing outside can be
//! called, as there is nothing to call it with; a name that weights have no use for is an error besides
//! (see `globals`).
//!
//! # Notes
//! Values refer to nodes by number, as in Python, so that the memo shares and copies nothing. Cycles and
//! values that contain themselves many times over are for the reader of the graph to survive.

use std::collections::HashMap;
use std::io::{BufRead, Read};

use super::globals;
use super::graph::{Graph, Node, Object, Value};
use crate::error::PickleFault;

/// Longest name, and longest line of protocol 0, in bytes.
const MAX_LINE: u64 = 1 << 12;

/// Longest string that is kept, in bytes; what is longer is no key and no name.
const MAX_TEXT: u64 = 1 << 16;

/// Most containers, strings and objects of a pickle.
const MAX_NODES: usize = 4_000_000;

/// Reads one pickle, up to its end.
pub(crate) fn read(reader: &mut impl BufRead) -> Result<Graph, PickleFault> {
    let machine = Machine {
        reader,
        nodes: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    machine.run()
}

struct Machine<'a, R> {
    reader: &'a mut R,
    nodes: Vec<Node>,
    stack: Vec<Value>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u64, Value>,
}

impl<R: BufRead> Machine<'_, R> {
    fn run(mut self) -> Result<Graph, PickleFault> {
        loop {
            let [op] = self.bytes()?;
            if op == b'.' {
                let root = self.pop()?;
                return Ok(Graph { nodes: self.nodes, root });
            }
            self.step(op)?;
        }
    }

    /// Carries out an instruction, under its letter or number in `pickletools`.
    fn step(&mut self, op: u8) -> Result<(), PickleFault> {
        match op {
            // What is of no interest but for its length.
            0x80 => return self.skip(1), // the protocol
            0x95 => return self.skip(8), // a frame
            b'F' => return self.line().map(|_| self.stack.push(Value::Nothing)),
            b'G' => return self.nothing(8),
            b'C' => return self.nothing_of_length::<1>(),
            b'B' | 0x8b => return self.nothing_of_length::<4>(),
            0x8e | 0x96 => return self.nothing_of_length::<8>(),
            b'N' => self.stack.push(Value::Nothing),
            // Truth and integers.
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            b'I' | b'L' => {
                let line = self.line()?;
                self.stack.push(match line.trim_end_matches('L') {
                    "00" => Value::Bool(false),
                    "01" => Value::Bool(true),
                    digits => digits.parse().map_or(Value::Nothing, Value::Int),
                });
            }
            b'J' => self.integer(4)?,
            b'K' => self.unsigned::<1>().map(|it| self.push_length(it))?,
            b'M' => self.unsigned::<2>().map(|it| self.push_length(it))?,
            0x8a => {
                let length = self.unsigned::<1>()?;
                self.integer(length)?;
            }
            // Strings.
            b'U' | 0x8c => self.text_of_length::<1>()?,
            b'T' | b'X' => self.text_of_length::<4>()?,
            0x8d => self.text_of_length::<8>()?,
            b'V' => {
                let line = self.line()?;
                self.push_node(Node::Text(line))?;
            }
            b'S' => {
                let line = self.line()?;
                let inside = line.get(1..line.len().saturating_sub(1)).unwrap_or_default();
                self.push_node(Node::Text(inside.to_owned()))?;
            }
            _ => return self.structure(op),
        }
        Ok(())
    }

    /// Instructions on what is on the stack.
    fn structure(&mut self, op: u8) -> Result<(), PickleFault> {
        match op {
            b'(' => self.marks.push(self.stack.len()),
            b'0' if self.marks.last() == Some(&self.stack.len()) => drop(self.marks.pop()),
            b'0' => self.pop().map(drop)?,
            b'1' => self.pop_to_mark().map(drop)?,
            b'2' => self.stack.push(self.top()?),
            // Containers.
            b')' => self.push_node(Node::Tuple(Vec::new()))?,
            0x85..=0x87 => {
                let count = usize::from(op - 0x84);
                let from = self.stack.len().checked_sub(count).filter(|&it| it >= self.floor());
                let values = self.stack.split_off(from.ok_or(PickleFault::Stack)?);
                self.push_node(Node::Tuple(values))?;
            }
            b't' => self.marked(Node::Tuple)?,
            b']' | 0x8f => self.push_node(Node::List(Vec::new()))?,
            b'l' | 0x91 => self.marked(Node::List)?,
            b'}' => self.push_node(Node::Dict(Vec::new()))?,
            b'd' => self.marked(|values| Node::Dict(pairs(&values)))?,
            b'a' => {
                let value = self.pop()?;
                self.append(vec![value])?;
            }
            b'e' | 0x90 => {
                let values = self.pop_to_mark()?;
                self.append(values)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(vec![(key, value)])?;
            }
            b'u' => {
                let values = self.pop_to_mark()?;
                self.set_items(pairs(&values))?;
            }
            // The memo.
            b'p' => self.index().and_then(|it| self.put(it))?,
            b'q' => self.unsigned::<1>().and_then(|it| self.put(it))?,
            b'r' => self.unsigned::<4>().and_then(|it| self.put(it))?,
            0x94 => self.put(self.memo.len() as u64)?,
            b'g' => self.index().and_then(|it| self.get(it))?,
            b'h' => self.unsigned::<1>().and_then(|it| self.get(it))?,
            b'j' => self.unsigned::<4>().and_then(|it| self.get(it))?,
            _ => return self.object(op),
        }
        Ok(())
    }

    /// Instructions that name, call or furnish something outside.
    fn object(&mut self, op: u8) -> Result<(), PickleFault> {
        match op {
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let text = |value| match value {
                    Value::Node(number) => match &self.nodes[number] {
                        Node::Text(text) => Ok(text.clone()),
                        _ => Err(PickleFault::HiddenGlobal),
                    },
                    _ => Err(PickleFault::HiddenGlobal),
                };
                let (module, name) = (text(module)?, text(name)?);
                self.global(module, name)
            }
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.call(callable, arguments)
            }
            0x92 => {
                let (named, arguments, callable) = (self.pop()?, self.pop()?, self.pop()?);
                self.push_node(Node::Tuple(vec![arguments, named]))?;
                let arguments = self.pop()?;
                self.call(callable, arguments)
            }
            b'o' | b'i' => {
                let mut arguments = self.pop_to_mark()?;
                let callable = if op == b'i' {
                    let (module, name) = (self.line()?, self.line()?);
                    self.global(module, name)?;
                    self.pop()?
                } else if arguments.is_empty() {
                    return Err(PickleFault::Stack);
                } else {
                    arguments.remove(0)
                };
                self.push_node(Node::Tuple(arguments))?;
                let arguments = self.pop()?;
                self.call(callable, arguments)
            }
            b'b' => {
                let state = self.pop()?;
                match self.top_node()? {
                    Node::Object(object) => object.state = state,
                    _ => return Err(PickleFault::Target("attributes")),
                }
                Ok(())
            }
            b'P' => {
                let line = self.line()?;
                self.push_node(Node::Text(line))?;
                self.persistent()
            }
            b'Q' => self.persistent(),
            _ => Err(PickleFault::Instruction(op)),
        }
    }

    fn global(&mut self, module: String, name: String) -> Result<(), PickleFault> {
        globals::check(&module, &name)?;
        self.push_node(Node::Global(module, name))
    }

    fn call(&mut self, callable: Value, arguments: Value) -> Result<(), PickleFault> {
        let (items, state) = (Vec::new(), Value::Nothing);
        self.push_node(Node::Object(Box::new(Object { callable, arguments, items, state })))
    }

    fn persistent(&mut self) -> Result<(), PickleFault> {
        let id = self.pop()?;
        self.push_node(Node::Persistent(id))
    }

    fn append(&mut self, values: Vec<Value>) -> Result<(), PickleFault> {
        match self.top_node()? {
            Node::List(list) => list.extend(values),
            Node::Object(object) => {
                object.items.extend(values.into_iter().map(|value| (Value::Nothing, value)));
            }
            _ => return Err(PickleFault::Target("elements")),
        }
        Ok(())
    }

    fn set_items(&mut self, items: Vec<(Value, Value)>) -> Result<(), PickleFault> {
        match self.top_node()? {
            Node::Dict(all) => all.extend(items),
            Node::Object(object) => object.items.extend(items),
            _ => return Err(PickleFault::Target("items")),
        }
        Ok(())
    }

    fn put(&mut self, index: u64) -> Result<(), PickleFault> {
        self.memo.insert(index, self.top()?);
        Ok(())
    }

    fn get(&mut self, index: u64) -> Result<(), PickleFault> {
        let value = self.memo.get(&index).ok_or(PickleFault::Memo(index))?;
        self.stack.push(*value);
        Ok(())
    }

    /// Below this height nothing is taken before the mark is.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Value, PickleFault> {
        self.stack[self.floor()..].last().copied().ok_or(PickleFault::Stack)
    }

    fn top_node(&mut self) -> Result<&mut Node, PickleFault> {
        match self.top()? {
            Value::Node(number) => Ok(&mut self.nodes[number]),
            _ => Err(PickleFault::Target("a part")),
        }
    }

    fn pop(&mut self) -> Result<Value, PickleFault> {
        let value = self.top()?;
        self.stack.truncate(self.stack.len() - 1);
        Ok(value)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>, PickleFault> {
        let mark = self.marks.pop().ok_or(PickleFault::Stack)?;
        Ok(self.stack.split_off(mark))
    }

    fn marked(&mut self, node: impl FnOnce(Vec<Value>) -> Node) -> Result<(), PickleFault> {
        let values = self.pop_to_mark()?;
        self.push_node(node(values))
    }

    fn push_node(&mut self, node: Node) -> Result<(), PickleFault> {
        let number = self.nodes.len();
        if number >= MAX_NODES {
            return Err(PickleFault::TooMany { most: MAX_NODES });
        }
        self.nodes.push(node);
        self.stack.push(Value::Node(number));
        Ok(())
    }

    fn push_length(&mut self, length: u64) {
        self.stack.push(i64::try_from(length).map_or(Value::Nothing, Value::Int));
    }

    /// Takes an integer of this many bytes, in two's complement.
    fn integer(&mut self, length: u64) -> Result<(), PickleFault> {
        let mut bytes = [0; 8];
        let Some(used) = usize::try_from(length).ok().and_then(|it| bytes.get_mut(..it)) else {
            return self.nothing(length);
        };
        self.reader.read_exact(used).map_err(PickleFault::ended)?;
        let unused = 64 - 8 * used.len();
        let value = i64::from_le_bytes(bytes);
        let value = if unused == 64 { 0 } else { (value << unused) >> unused }; // with its sign
        self.stack.push(Value::Int(value));
        Ok(())
    }

    /// Takes so many bytes that are of no interest.
    fn nothing(&mut self, length: u64) -> Result<(), PickleFault> {
        self.skip(length)?;
        self.stack.push(Value::Nothing);
        Ok(())
    }

    fn nothing_of_length<const N: usize>(&mut self) -> Result<(), PickleFault> {
        let length = self.unsigned::<N>()?;
        self.nothing(length)
    }

    fn text_of_length<const N: usize>(&mut self) -> Result<(), PickleFault> {
        let length = self.unsigned::<N>()?;
        if length > MAX_TEXT {
            return self.nothing(length);
        }
        let mut bytes = Vec::new();
        (&mut *self.reader).take(length).read_to_end(&mut bytes).map_err(PickleFault::ended)?;
        if bytes.len() as u64 != length {
            return Err(PickleFault::End);
        }
        self.push_node(Node::Text(String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn index(&mut self) -> Result<u64, PickleFault> {
        let line = self.line()?;
        line.trim().parse().map_err(|_| PickleFault::Number(line))
    }

    fn line(&mut self) -> Result<String, PickleFault> {
        let mut line = Vec::new();
        (&mut *self.reader)
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)
            .map_err(PickleFault::ended)?;
        match line.pop() {
            Some(b'\n') => Ok(String::from_utf8_lossy(&line).into_owned()),
            _ => Err(PickleFault::End),
        }
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], PickleFault> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes).map_err(PickleFault::ended)?;
        Ok(bytes)
    }

    /// An unsigned number of `N` bytes.
    fn unsigned<const N: usize>(&mut self) -> Result<u64, PickleFault> {
        let mut bytes = [0; 8];
        bytes[..N].copy_from_slice(&self.bytes::<N>()?);
        Ok(u64::from_le_bytes(bytes))
    }

    fn skip(&mut self, length: u64) -> Result<(), PickleFault> {
        let skipped = std::io::copy(&mut (&mut *self.reader).take(length), &mut std::io::sink());
        if skipped.map_err(PickleFault::ended)? == length { Ok(()) } else { Err(PickleFault::End) }
    }
}

/// Keys and values that alternate; a key without a value, which Python never writes, is left out.
fn pairs(values: &[Value]) -> Vec<(Value, Value)> {
    values.as_chunks().0.iter().map(|&[key, value]| (key, value)).collect()
}

#[cfg(test)]
mod tests;
