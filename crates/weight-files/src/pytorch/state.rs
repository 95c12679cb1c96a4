//! The tensors in a pickle, under the keys that lead to them.
//!
//! # Reference
//! PyTorch, `torch/nn/modules/module.py` for the tables of a module.

use std::path::Path;

use super::graph::{Graph, Node, Object, Value};
use super::rebuild::{Listed, rebuild, unread};
use crate::Error;
use crate::error::PickleFault;

/// Deepest nesting of containers around a tensor.
const MAX_DEPTH: usize = 500;

/// Most values around tensors that are looked at; a value that is reached in two ways counts twice.
const MAX_VISITS: usize = 4_000_000;

/// Every tensor of a pickle. One that is the root itself is called `name`.
pub(super) fn tensors(graph: &Graph, name: &str, path: &Path) -> Result<Vec<Listed>, Error> {
    let leads = leading(graph);
    let (name, found) = (name.to_owned(), Vec::new());
    let mut walk = Walk { graph, path, leads, visits: 0, root: name, keys: String::new(), found };
    walk.visit(graph.root, 0)?;
    Ok(walk.found)
}

/// Whether a storage can be reached from each node.
fn leading(graph: &Graph) -> Vec<bool> {
    let mut parents: Vec<Vec<usize>> = vec![Vec::new(); graph.nodes.len()];
    let (mut leads, mut open) = (vec![false; graph.nodes.len()], Vec::new());
    for (parent, node) in graph.nodes.iter().enumerate() {
        let add = |value: Value| {
            if let Value::Node(child) = value {
                parents[child].push(parent);
            }
        };
        match node {
            Node::Text(_) | Node::Global(..) => {}
            Node::Tuple(values) | Node::List(values) => values.iter().copied().for_each(add),
            Node::Dict(items) => items.iter().map(|it| it.1).for_each(add),
            Node::Persistent(_) => {
                leads[parent] = true;
                open.push(parent);
            }
            Node::Object(object) => {
                let Object { callable, arguments, items, state } = &**object;
                let values = items.iter().map(|it| it.1);
                values.chain([*callable, *arguments, *state]).for_each(add);
            }
        }
    }
    while let Some(node) = open.pop() {
        for parent in std::mem::take(&mut parents[node]) {
            if !std::mem::replace(&mut leads[parent], true) {
                open.push(parent);
            }
        }
    }
    leads
}

struct Walk<'a> {
    graph: &'a Graph,
    path: &'a Path,
    /// Whether a storage can be reached from each node.
    leads: Vec<bool>,
    visits: usize,
    /// The name of a tensor without keys.
    root: String,
    /// The keys so far, with dots between them.
    keys: String,
    found: Vec<Listed>,
}

impl<'a> Walk<'a> {
    fn visit(&mut self, value: Value, depth: usize) -> Result<(), Error> {
        let Value::Node(number) = value else { return Ok(()) };
        if !self.leads[number] {
            return Ok(());
        }
        self.visits += 1;
        let fault = |fault: PickleFault| Err(Error::file(self.path)(fault));
        if depth > MAX_DEPTH {
            return fault(PickleFault::TooDeep { most: MAX_DEPTH });
        }
        if self.visits > MAX_VISITS {
            return fault(PickleFault::TooMany { most: MAX_VISITS });
        }
        match &self.graph.nodes[number] {
            Node::Tuple(values) | Node::List(values) => self.elements(values, depth),
            Node::Dict(items) => self.items(items, depth),
            Node::Object(object) => {
                let arguments = self.graph.sequence(object.arguments).unwrap_or_default();
                self.call(object.callable, arguments, Some(object), depth)
            }
            // A storage by itself has no shape.
            Node::Persistent(_) | Node::Text(_) | Node::Global(..) => Ok(()),
        }
    }

    fn elements(&mut self, values: &[Value], depth: usize) -> Result<(), Error> {
        let mut values = values.iter().enumerate();
        values.try_for_each(|(index, value)| self.below(&index.to_string(), *value, depth))
    }

    fn items(&mut self, items: &[(Value, Value)], depth: usize) -> Result<(), Error> {
        for (key, value) in items {
            let key = self.graph.key(*key);
            self.below(key.as_deref().unwrap_or("?"), *value, depth)?;
        }
        Ok(())
    }

    fn below(&mut self, key: &str, value: Value, depth: usize) -> Result<(), Error> {
        let length = self.keys.len();
        if length > 0 {
            self.keys.push('.');
        }
        self.keys.push_str(key);
        let visited = self.visit(value, depth + 1);
        self.keys.truncate(length);
        visited
    }

    /// What a call would make, which is `object` if the pickle itself calls.
    fn call(
        &mut self,
        callable: Value,
        arguments: &'a [Value],
        object: Option<&'a Object>,
        depth: usize,
    ) -> Result<(), Error> {
        let first = arguments.first().copied().unwrap_or(Value::Nothing);
        let items = object.map_or(&[][..], |it| &it.items);
        match self.graph.global(callable).unwrap_or_default() {
            ("collections", _) | ("builtins" | "__builtin__", "dict") => {
                let pair = |&pair| match self.graph.sequence(pair) {
                    Some(&[key, value]) => (key, value),
                    _ => (Value::Nothing, pair),
                };
                match self.graph.node(first) {
                    Some(Node::Dict(items)) => self.items(items, depth)?,
                    Some(Node::Tuple(pairs) | Node::List(pairs)) => {
                        self.items(&pairs.iter().map(pair).collect::<Vec<_>>(), depth)?;
                    }
                    _ => {}
                }
                self.items(items, depth)
            }
            ("builtins" | "__builtin__", _)
            | ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                self.visit(first, depth + 1)
            }
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3") => {
                let listed = rebuild(self.graph, self.name(), arguments);
                let name = self.name();
                self.found.push(listed.map_err(Error::tensor(self.path, name))?);
                Ok(())
            }
            // What is called, the class of the result, the arguments, attributes.
            ("torch._tensor", "_rebuild_from_type_v2") => {
                let arguments = arguments.get(2).and_then(|&it| self.graph.sequence(it));
                if depth > MAX_DEPTH {
                    let fault = PickleFault::TooDeep { most: MAX_DEPTH };
                    return Err(Error::file(self.path)(fault));
                }
                self.call(first, arguments.unwrap_or_default(), None, depth + 1)
            }
            (module, name) => {
                if let Some(tables) = object.and_then(|object| module_tables(self.graph, object)) {
                    return self.items(&tables, depth);
                }
                self.found.push(unread(self.graph, self.name(), module, name, arguments));
                Ok(())
            }
        }
    }

    fn name(&self) -> &str {
        if self.keys.is_empty() { &self.root } else { &self.keys }
    }
}

/// The parameters, buffers and children of a pickled `torch.nn.Module`, but for what its `state_dict`
/// leaves out. None if `object` is something else.
fn module_tables(graph: &Graph, object: &Object) -> Option<Vec<(Value, Value)>> {
    let Node::Dict(attributes) = graph.node(object.state)? else { return None };
    let attribute = |name: &str| {
        let (_, value) = attributes.iter().find(|(key, _)| graph.text(*key) == Some(name))?;
        Some(*value)
    };
    let entries = |value: Value| match graph.node(value) {
        Some(Node::Dict(items)) => Some(&items[..]),
        Some(Node::Object(object)) => Some(&object.items[..]), // an OrderedDict
        _ => None,
    };
    let [parameters, buffers, children] =
        ["_parameters", "_buffers", "_modules"].map(|table| attribute(table).and_then(entries));
    let transient = attribute("_non_persistent_buffers_set");
    let transient = transient.and_then(|it| match graph.node(it)? {
        // set([..])
        Node::Object(object) => graph.sequence(*graph.sequence(object.arguments)?.first()?),
        _ => graph.sequence(it),
    });
    let is_kept = |(key, _): &&(Value, Value)| {
        let name = graph.text(*key);
        !transient.unwrap_or_default().iter().any(|it| graph.text(*it) == name)
    };
    let buffers = buffers?.iter().filter(is_kept);
    Some(parameters?.iter().chain(buffers).chain(children?).copied().collect())
}
