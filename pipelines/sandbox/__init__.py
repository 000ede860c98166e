"""Files are parsed in processes that can do nothing else, and that end with their file.

`client` asks a `server`, a process with the parsers loaded, which forks a `child` for each file. The child
confines itself (`limits`, `platform.kernel`) before it looks at the file, and what it sends back is JSON that
is checked (`wire`): a file that takes over its parser gets hold of nothing but its own text.
"""
