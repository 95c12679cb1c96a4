//! What a pickle would build, as data.

/// What is on the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value {
    /// None, and whatever no tensor is made of: floats, bytes, integers of more than 64 bits.
    Nothing,
    Bool(bool),
    Int(i64),
    /// A place in [`Graph::nodes`].
    Node(usize),
}

/// A value that has a size.
#[derive(Debug)]
pub(crate) enum Node {
    Text(String),
    /// Module and name.
    Global(String, String),
    Tuple(Vec<Value>),
    /// A list or a set.
    List(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    /// What stands in the file for a storage.
    Persistent(Value),
    Object(Box<Object>),
}

/// An uncalled call.
#[derive(Debug)]
pub(crate) struct Object {
    /// What is called.
    pub(crate) callable: Value,
    /// With what: a tuple, if the pickle is one of Python's.
    pub(crate) arguments: Value,
    /// Items and elements that the result is given, the latter without a key.
    pub(crate) items: Vec<(Value, Value)>,
    /// The attributes that it is given.
    pub(crate) state: Value,
}

/// All values of a pickle.
#[derive(Debug)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) root: Value,
}

impl Graph {
    /// The node behind a value that has one.
    pub(crate) fn node(&self, value: Value) -> Option<&Node> {
        match value {
            Value::Node(number) => self.nodes.get(number),
            _ => None,
        }
    }

    /// The elements of a tuple or list.
    pub(crate) fn sequence(&self, value: Value) -> Option<&[Value]> {
        match self.node(value)? {
            Node::Tuple(values) | Node::List(values) => Some(values),
            _ => None,
        }
    }

    pub(crate) fn text(&self, value: Value) -> Option<&str> {
        match self.node(value)? {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What can be a key of a dictionary, as text.
    pub(crate) fn key(&self, value: Value) -> Option<String> {
        match value {
            Value::Int(key) => Some(key.to_string()),
            Value::Bool(key) => Some(key.to_string()),
            key => self.text(key).map(str::to_owned),
        }
    }

    pub(crate) fn global(&self, value: Value) -> Option<(&str, &str)> {
        match self.node(value)? {
            Node::Global(module, name) => Some((module, name)),
            _ => None,
        }
    }
}
