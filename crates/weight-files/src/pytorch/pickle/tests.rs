//! Pickles as Python writes them, and as nobody should.

use super::*;

fn graph(pickle: &[u8]) -> Graph {
    read(&mut &pickle[..]).unwrap()
}

fn fault(pickle: &[u8]) -> PickleFault {
    read(&mut &pickle[..]).unwrap_err()
}

/// A value as Python would write it.
fn written(graph: &Graph, value: Value) -> String {
    let all = |values: &[Value]| -> String {
        values.iter().map(|it| written(graph, *it)).collect::<Vec<_>>().join(" ")
    };
    let items = |items: &[(Value, Value)]| -> String {
        let item = |(key, value): &(Value, Value)| {
            format!("{}:{}", written(graph, *key), written(graph, *value))
        };
        items.iter().map(item).collect::<Vec<_>>().join(" ")
    };
    match value {
        Value::Nothing => "_".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Int(int) => int.to_string(),
        Value::Node(number) => match &graph.nodes[number] {
            Node::Text(text) => format!("'{text}'"),
            Node::Global(module, name) => format!("{module}.{name}"),
            Node::Tuple(values) => format!("({})", all(values)),
            Node::List(values) => format!("[{}]", all(values)),
            Node::Dict(pairs) => format!("{{{}}}", items(pairs)),
            Node::Persistent(id) => format!("<{}>", written(graph, *id)),
            Node::Object(object) => format!(
                "{}{}{{{}}}|{}",
                written(graph, object.callable),
                written(graph, object.arguments),
                items(&object.items),
                written(graph, object.state)
            ),
        },
    }
}

#[test]
fn values_as_python_writes_them() {
    let cases: [(&[u8], &str); 13] = [
        // pickle.dumps({"a": [1, -2, 300, 70000], "b": (None, True, 1.5)}, 2)
        (b"\x80\x02}(X\x01\0\0\0a](K\x01J\xfe\xff\xff\xffM,\x01Jp\x11\x01\0eX\x01\0\0\0bN\x88G?\xf8\0\0\0\0\0\0\x87u.", "{'a':[1 -2 300 70000] 'b':(_ true _)}"),
        // protocol 0: {'a': [1, -2, True], 'b': (1.5, 10**30)}
        (b"(dVa\n(lI1\naI-2\naI01\nasVb\n(F1.5\nL1000000000000000000000000000000L\nts.", "{'a':[1 -2 true] 'b':(_ _)}"),
        // protocol 4: {2**33: {1}, "a": b"xy"}
        (b"\x80\x04\x95\0\0\0\0\0\0\0\0}\x94(\x8a\x05\0\0\0\0\x02\x8f\x94(K\x01\x90\x8c\x01a\x94C\x02xy\x94u.", "{8589934592:[1] 'a':_}"),
        (b"\x8a\x00\x8a\x01\xff\x8a\x09\0\0\0\0\0\0\0\0\x01\x87.", "(0 -1 _)"),
        (b"S'ab'\nU\x01cT\x01\0\0\0d\x8d\x01\0\0\0\0\0\0\0e\x87\x86.", "('ab' ('c' 'd' 'e'))"),
        (b"(K\x01K\x02l(K\x03d.", "{}"), // a key without a value
        (b"]q\x05h\x05r\x06\0\0\0j\x06\0\0\0p7\ng7\n\x87\x94h\x03\x86.", "(([] [] []) ([] [] []))"),
        (b"ccollections\nOrderedDict\n)R(K\x01K\x02u}b.", "collections.OrderedDict(){1:2}|{}"),
        (b"\x8c\x05torch\x8c\x04Size\x93(K\x01t\x81.", "torch.Size(1){}|_"),
        (b"ctorch\nSize\n)}\x92.", "torch.Size(() {}){}|_"),
        (b"(K\x05itorch\nSize\n(ctorch\nSize\nK\x06o\x86.", "(torch.Size(5){}|_ torch.Size(6){}|_)"),
        (b"(X\x01\0\0\0aK\x02tQPid\n\x86.", "(<('a' 2)> <'id'>)"),
        (b"K\x01K\x022\x860(K\x031K\x04(0.", "4"), // copied, dropped, dropped with its mark
    ];
    for (pickle, expected) in cases {
        let graph = graph(pickle);
        assert_eq!(written(&graph, graph.root), expected);
    }
    let long = [b"X\xff\xff\x01\0", &vec![b'x'; 0x1_ffff][..], b"."].concat();
    assert_eq!(graph(&long).root, Value::Nothing);
}

#[test]
fn a_list_may_hold_itself() {
    let graph = graph(b"]q\x00h\x00a.");
    assert_eq!(graph.sequence(graph.root), Some(&[graph.root][..]));
}

#[test]
fn the_rest_of_a_stream_is_left() {
    let mut rest = &b"K\x01.K\x02.rest"[..];
    assert_eq!(read(&mut rest).unwrap().root, Value::Int(1));
    assert_eq!(read(&mut rest).unwrap().root, Value::Int(2));
    assert_eq!(rest, b"rest");
}

#[test]
fn names_of_programs_by_every_way() {
    // pickle.dumps of an object whose __reduce__ is (os.system, ("id",)), by protocol
    let programs: [&[u8]; 7] = [
        b"cposix\nsystem\np0\n(Vid\np1\ntp2\nRp3\n.",
        b"\x80\x02cposix\nsystem\nq\x00X\x02\x00\x00\x00idq\x01\x85q\x02Rq\x03.",
        b"\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x02id\x94\x85\x94R\x94.",
        // the same behind the memo, by index and by line; as an instance; behind all there is to skip
        b"\x80\x04\x8c\x06system\x94\x8c\x05posix\x940h\x01h\x00\x93\x8c\x02id\x85R.",
        b"Vposix\np7\n0Vsystem\np8\n0g7\ng8\n\x93.",
        b"(iposix\nsystem\n.",
        b"\x80\x05\x95\0\0\0\0\0\0\0\0K\x01M\x01\x02J\x01\x02\x03\x04G\0\0\0\0\0\0\0\0\x8a\x01\x05B\x01\0\0\0x\x8e\x01\0\0\0\0\0\0\0xI1\nF1.5\ncposix\nsystem\n.",
    ];
    for program in programs {
        let fault = fault(program);
        assert!(matches!(fault, PickleFault::Global(name) if name == "posix.system"));
    }
    // A name inside of a string, of bytes, of a long and of a line is none.
    for data in [
        &b"X\x0e\x00\x00\x00cposix\nsystem\n."[..],
        b"C\x0ecposix\nsystem\n.",
        b"\x8a\x0ecposix\nsystem\n.",
        b"Vcposix\n.",
    ] {
        graph(data);
    }
    for hidden in [&b"N\x8c\x06system\x93."[..], b"\x8c\x05posix)\x93.", b"K\x01K\x02\x93."] {
        assert!(matches!(fault(hidden), PickleFault::HiddenGlobal), "{hidden:?}");
    }
}

#[test]
fn pickles_that_do_not_fit_together() {
    for ended in [&b""[..], b"K", b"X\xff\xff\0\0w", b"B\xff\xff\xff\xffw", b"Vno end", b"cposix\n"]
    {
        assert!(matches!(fault(ended), PickleFault::End), "{ended:?}");
    }
    for empty in [
        &b"."[..],
        b"0.",
        b"(.",
        b"\x85.",
        b"K\x01(\x85.",
        b"t.",
        b"e.",
        b"(o.",
        b"q\0.",
        b"R.",
        b"2.",
    ] {
        assert!(matches!(fault(empty), PickleFault::Stack), "{empty:?}");
    }
    for pickle in [&b")K\x01a."[..], b"]K\x01K\x02s.", b"}}b.", b"K\x01K\x02a."] {
        assert!(matches!(fault(pickle), PickleFault::Target(_)), "{pickle:?}");
    }
    assert!(matches!(fault(b"h\x07."), PickleFault::Memo(7)));
    assert!(matches!(fault(b"gx\n."), PickleFault::Number(line) if line == "x"));
    for unknown in [b"\xff.", b"\x82.", b"\x97.", b"\x00."] {
        assert!(matches!(fault(unknown), PickleFault::Instruction(it) if it == unknown[0]));
    }
    let many = vec![b']'; MAX_NODES + 1];
    assert!(matches!(fault(&many), PickleFault::TooMany { most: MAX_NODES }));
}
