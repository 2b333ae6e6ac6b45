pub fn usage() -> String { String::new() }
