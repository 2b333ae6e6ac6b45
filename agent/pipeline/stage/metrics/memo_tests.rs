use super::*;
use crate::metrics::{Limit, Store};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::HashMap;

#[test]
fn short_values_are_their_bytes() {
    for length in 1..8 {
        let bytes: Vec<u8> = (1..=length).map(|byte| byte * 17).collect();
        let mut whole = [0; 8];
        whole[..bytes.len()].copy_from_slice(&bytes);
        assert_eq!(short(&bytes), u64::from_le_bytes(whole), "{length} bytes");
    }
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    // Few distinct bytes, so that values are alike but for one place, or their length.
    vec(prop_oneof![4 => Just(0u8), 1 => Just(b'a')], 0..VALUE_BYTES_MAX + 2)
}

proptest! {
    #[test]
    fn a_number_is_of_one_value(values in vec(value(), 1..400)) {
        let (mut numbers, mut known) = (Numbers::default(), HashMap::<u64, Vec<u8>>::new());
        for value in values {
            let Some(number) = numbers.of(&value) else {
                prop_assert!(value.len() > VALUE_BYTES_MAX);
                continue;
            };
            prop_assert!(number > 0);
            prop_assert_eq!(known.entry(number).or_insert_with(|| value.clone()), &value);
            // What came last is remembered.
            prop_assert_eq!(numbers.of(&value), Some(number));
        }
    }

    #[test]
    fn a_row_is_of_one_label_set(keys in vec((0u64..8, 0u64..40, any::<bool>()), 1..600)) {
        let mut store = Store::new();
        let family = store.define(crate::metrics::Family {
            name: "n".into(), help: String::new(), kind: crate::metrics::Kind::Counter, max_idle: None,
        }).expect("a family");
        let group = store.group(&[family], Limit { series_max: 1000, ..Limit::default() });
        let name = store.label_name("a");
        let mut rows = Rows::default();
        let (mut made, mut epoch) = (HashMap::new(), 0);
        for (a, b, next) in keys {
            let key = [a, b];
            let set = LabelSet { target: a % 3, numbers: &[7, b, 7, a], places: &[3, 1] };
            match rows.get(set, epoch) {
                Some(row) => prop_assert_eq!(made.get(&(key, epoch)), Some(&row)),
                None => {
                    let mut label = crate::metrics::LabelKey::new();
                    label.push(name, format!("{key:?}").as_bytes());
                    let row = store.row(group, &mut label, 1);
                    made.insert((key, epoch), row);
                    rows.put(set, row, epoch);
                    prop_assert_eq!(rows.get(set, epoch), Some(row));
                }
            }
            epoch += u64::from(next && a == 0);
        }
    }
}
