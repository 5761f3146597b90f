"""List the plugins of this package: registry, signature, source, and cost beside a baseline.

    python tools/list_plugins.py
    python tools/list_plugins.py 'semeda|sobel' --full
    python tools/list_plugins.py --markdown

A plugin has two lines. The first has its name and the arguments that a config gives it. The second
has a benchmark case, the time of ours, that time over the time of the fastest baseline (below 1:
ours is faster), and the part of a paper that the plugin comes from. Of several cases it is the one
that measures the fewest other plugins and ops; of several runs of ours the one with the name of
the plugin, else the first. --full names the two runs.

Signature and source come from the class and its docstring, times from the results of the package.
"""
import argparse
import inspect
import re
import textwrap
from typing import Dict, List, NamedTuple, Optional

import mmseg.registry
from mmengine.registry import Registry

import mmseg_ext  # noqa: F401  (registers the plugins)
from mmseg_ext.benchmarks.report import format_factor, format_seconds
from mmseg_ext.benchmarks.results_file import RESULTS, headline, read_results

WIDTH = 100
#: A place in a paper.
PLACE = re.compile(r'(?:Sec\.|[Ss]ections?|Eq\.|Fig\.|Tables?|Algorithm) '
                   r'\d[\d.]*(?<!\.)(?:(?:, | to | and )\d[\d.]*(?<!\.))*')
#: A title with its address, or in quotation marks with the year.
TITLE = re.compile(r'`([^`<]+?)\s*<\w+://[^>]+>`_|"([A-Z][^"]+)",? [^"]{0,20}(?:19|20)\d\d')
#: Authors and year.
AUTHORS = re.compile(r'(?<![\w.])[A-Z]\w+(?:, [A-Z]\w+)*(?: et al\.| and [A-Z]\w+)(?:, \w[\w ]*)? '
                     r'(?:19|20)\d\d')


class Cost(NamedTuple):
    """A benchmark case, and how long ours takes in it beside the fastest baseline."""
    case: str
    ours: str
    ratio: str
    runs: str  # names of the two runs


class Plugin(NamedTuple):
    """What there is to say about a plugin."""
    name: str
    registry: str
    signature: str
    source: str
    cost: Optional[Cost]


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line.

    Args:
        argv (list[str], optional): Arguments. Defaults to the command line.

    Returns:
        argparse.Namespace: The values.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('pattern', nargs='?', default='', type=_pattern,
                        help='regular expression that the names must match, in any case')
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu',
                        help='of the benchmark results (default: cpu)')
    parser.add_argument('--full', action='store_true', help='cut nothing off')
    parser.add_argument('--markdown', action='store_true', help='print tables in Markdown')
    return parser.parse_args(argv)


def find_plugins() -> Dict[str, Dict[str, type]]:
    """Find the classes that this package has registered.

    Returns:
        dict[str, dict[str, type]]: For each registry, by its name in ``mmseg.registry``, the
        classes by name.
    """
    found = {}
    for registry_name, registry in vars(mmseg.registry).items():
        if isinstance(registry, Registry):
            found[registry_name] = {
                name: cls for name, cls in sorted(registry.module_dict.items())
                if cls.__module__.startswith('mmseg_ext.')}
    return {name: classes for name, classes in sorted(found.items()) if classes}


def signature_of(cls: type) -> str:
    """Write the arguments of a class with their defaults, without annotations."""
    signature = inspect.signature(cls)
    parameters = [parameter.replace(annotation=inspect.Parameter.empty)
                  for parameter in signature.parameters.values()]
    return str(signature.replace(
        parameters=parameters, return_annotation=inspect.Signature.empty))


def source_of(cls: type) -> str:
    """Find the part of a paper that a class comes from in the docstring of the class.

    Args:
        cls (type): The class.

    Returns:
        str: The title of a paper behind the places that the sentence with the title names. Without
        a title: the first sentence that names a place, behind the place, or authors and year; '-'
        if the docstring names no source.
    """
    about = re.split(r'\n(?:Args|Attributes|Examples?|Note):\n', inspect.getdoc(cls) or '')[0]
    # A title may have a colon and a full stop, so a sentence ends before a capital only.
    sentences = re.split(r'(?<=[a-z0-9)_`"]\.)\s+(?=[A-Z`])|;\s+', ' '.join(about.split()))
    cited = [(sentence, match) for sentence in sentences for match in TITLE.finditer(sentence)]
    # a title beside a place goes before one without
    for sentence, match in sorted(cited, key=lambda pair: not PLACE.search(pair[0])):
        title = match.group(1) or match.group(2).rstrip(',.')
        return ' of '.join(filter(None, [_places(sentence), title]))
    for sentence in sentences:
        if PLACE.search(sentence):
            return f'{_places(sentence)}: {sentence}'
        if AUTHORS.search(sentence):
            return AUTHORS.search(sentence).group()
    return '-'


def cost_of(name: str, cases: Dict[str, dict]) -> Optional[Cost]:
    """Find the cost of a plugin in benchmark results.

    Args:
        name (str): The plugin.
        cases (dict[str, dict]): Entries of ``cases`` by name.

    Returns:
        Cost or None: The case that measures the fewest other things; None if no case measures it.
    """
    covering = {key: case for key, case in cases.items() if name in case['covers']}
    if not covering:
        return None
    key = min(covering, key=lambda key: len(covering[key]['covers']))
    line = headline(covering[key])
    runs = covering[key]['phases'][line.phase]['runs']
    ours = next((run for run in runs if run.startswith('ours') and name in run), line.ours)
    seconds = runs[ours]['median_s']
    if line.baseline is None:
        return Cost(key, format_seconds(seconds), '', f'{line.phase}: {ours!r}')
    ratio = format_factor(seconds / runs[line.baseline]['median_s'])
    return Cost(key, format_seconds(seconds), ratio,
                f'{line.phase}: {ours!r} against {line.baseline!r}')


def table(plugins: List[Plugin]) -> str:
    """Write plugins for a screen, two lines each and at most 100 columns wide."""
    costs = [plugin.cost or Cost('not measured', '', '', '') for plugin in plugins]
    width = max(len(cost.case) for cost in costs)
    lines = [f'    {"benchmark case":{width}} {"ours":>8} {"ratio":>6}  source']
    for plugin, cost in zip(plugins, costs):
        numbers = f'    {cost.case:{width}} {cost.ours:>8} {cost.ratio:>6}  {plugin.source}'
        lines += [_cut(plugin.name + plugin.signature), _cut(numbers)]
    return '\n'.join(lines)


def full_table(plugins: List[Plugin]) -> str:
    """Write all that there is to say about plugins, at most 100 columns wide."""
    lines = []
    for plugin in plugins:
        cost = 'not measured'
        if plugin.cost is not None:
            case, ours, ratio, runs = plugin.cost
            cost = f'{ours}, ratio {ratio or "unknown"}, in {case} ({runs})'
        lines += [_wrap(plugin.name + plugin.signature, ''),
                  _wrap(f'source: {plugin.source}', '    '), _wrap(f'cost: {cost}', '    ')]
    return '\n'.join(lines)


def markdown(plugins: List[Plugin]) -> str:
    """Write plugins as a table in Markdown."""
    lines = ['| plugin | source | benchmark case | ours | ours / baseline |',
             '|---|---|---|---|---|']
    for plugin in plugins:
        cost = plugin.cost or Cost('not measured', '', '', '')
        lines.append(f'| `{plugin.name}` | {plugin.source} | {cost.case} | {cost.ours} '
                     f'| {cost.ratio} |')
    return '\n'.join(lines)


def main(argv: Optional[List[str]] = None) -> None:
    """Print the plugins, a table for each registry.

    Args:
        argv (list[str], optional): Arguments. Defaults to the command line.
    """
    args = parse_args(argv)
    cases = {name: case for path in sorted(RESULTS.glob(f'*_{args.device}.json'))
             for name, case in read_results(str(path))['cases'].items()}
    write = markdown if args.markdown else full_table if args.full else table
    sections = []
    for registry, classes in find_plugins().items():
        plugins = [Plugin(name, registry, signature_of(cls), source_of(cls), cost_of(name, cases))
                   for name, cls in classes.items() if args.pattern.search(name)]
        if plugins:
            sections.append(f'### {registry}\n\n{write(plugins)}\n' if args.markdown else
                            f'{registry}\n{write(plugins)}\n')
    if not sections:
        raise SystemExit(f'error: no plugin matches {args.pattern.pattern!r}; without a pattern '
                         'all are listed')
    print('\n'.join(sections), end='')


def _places(sentence: str) -> str:
    return ', '.join(dict.fromkeys(PLACE.findall(sentence)))


def _pattern(text: str) -> 're.Pattern':
    try:
        return re.compile(text, re.IGNORECASE)
    except re.error as error:
        raise argparse.ArgumentTypeError(
            f'{text!r} is no regular expression: {error}') from None


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[:WIDTH - 3] + '...'


def _wrap(text: str, indent: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent + '    ',
                         break_on_hyphens=False)


if __name__ == '__main__':
    main()
