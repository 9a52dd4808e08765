"""Tables as they come: NumPy, pandas, or anything with the Arrow interface, read in blocks without a full copy.

A table is a mapping from name to array, a NumPy array of two dimensions (columns named "0", "1", … or by `names`), a
pandas frame, or an object with `__arrow_c_stream__` (pyarrow, polars, a record batch reader). Every column becomes
numbers, labels or times; what is none of these is "other" and is not compared.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import InvalidData
from visutility.monitor.state import Floats

ColumnType: TypeAlias = Literal["number", "boolean", "text", "time", "null", "other"]
BLOCK = 16_384  # rows read at once: a column of it fits the second-level cache


@dataclass(frozen=True, slots=True)
class Labels:
    """Values as labels: `codes` (n,) index `names`, -1 where a value is missing."""

    codes: NDArray[np.int64]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows of a table. Numbers and times are float64 (n,) with NaN where missing, times in seconds since 1970."""

    rows: int
    types: dict[str, ColumnType]
    columns: dict[str, Floats | Labels | None]


def is_table(value: object) -> bool:
    """Return whether `blocks` reads this as one table."""
    arrow = hasattr(value, "__arrow_c_stream__") or hasattr(value, "__arrow_c_array__")
    return arrow or _is_frame(value) or isinstance(value, (Mapping, np.ndarray))


def tables(value: Any) -> Iterator[Any]:
    """Return the tables of a window: the one it is, or those of an iterator, list or tuple of tables.

    A list of lists of numbers is one table. Raises `InvalidData` for anything else.
    """
    if is_table(value):
        return iter([value])
    if isinstance(value, (list, tuple)) and not (value and is_table(value[0])):
        return iter([_rows(value)])
    if isinstance(value, (Iterator, list, tuple)):
        return iter(value)
    lazy = callable(getattr(value, "collect", None))
    raise InvalidData(
        f"a {type(value).__name__} is not a table",
        hint="pass what its collect() returns"
        if lazy
        else "pass a mapping of arrays, a 2-D array, a pandas or Arrow table, or an iterator of these",
    )


def _rows(value: Any) -> NDArray[Any]:
    try:
        found = np.asarray(value)
        beside_text = found.ndim == 2 and found.dtype.kind in "US"  # numbers beside text stay numbers
        return np.array(value, object) if beside_text else found
    except ValueError as error:
        raise InvalidData(
            f"a {type(value).__name__} is not a table: {error}", hint="give all rows one length"
        ) from None


def blocks(
    table: Any,
    names: Sequence[str] | None = None,
    categorical: Sequence[str] = (),
    rows: NDArray[np.int64] | None = None,
) -> Iterator[Block]:
    """Yield the rows of one table in blocks, all of them or those that `rows` picks, in order.

    `names` names the columns of a NumPy array; columns in `categorical` become labels whatever they hold.
    Raises `InvalidData` for columns of unequal length or more than one dimension, for a column that mixes types, for
    names that repeat, and for what is no table.
    """
    for columns, size in _pieces(table, names):
        whole = size if rows is None else len(rows)
        for start in range(0, whole, BLOCK):
            stop = min(start + BLOCK, whole)
            types: dict[str, ColumnType] = {}
            values: dict[str, Floats | Labels | None] = {}
            for name, column in columns.items():
                part = column[start:stop] if rows is None else _take(column, rows[start:stop])
                types[name], values[name] = _read(name, part, name in categorical)
            yield Block(stop - start, types, values)


def is_retyped(before: ColumnType, after: ColumnType) -> bool:
    """Return whether a column changed its type; one without any value has none yet."""
    return before != after and "null" not in (before, after)


def length(table: Any) -> int | None:
    """Return how many rows a table in memory has, None for a stream that can be read once."""
    if isinstance(table, Mapping):
        return min((len(column) for column in table.values() if hasattr(column, "__len__")), default=0)
    if isinstance(table, np.ndarray) and not table.ndim:
        return None
    if isinstance(table, np.ndarray) or _is_frame(table) or hasattr(table, "num_rows") or hasattr(table, "height"):
        return len(table)
    return None


def _is_frame(value: object) -> bool:
    return hasattr(value, "iloc") and hasattr(value, "columns")


def _pieces(table: Any, names: Sequence[str] | None) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield columns by name that can be sliced, with their length: once, or per record batch of a stream."""
    if isinstance(table, np.ndarray):
        yield _of_array(table, names)
    elif _is_frame(table):
        labels = [str(label) for label in table.columns]
        _refuse_repeats(labels)
        yield {label: _of_series(table.iloc[:, at]) for at, label in enumerate(labels)}, len(table)
    elif isinstance(table, Mapping):
        _refuse_repeats([str(name) for name in table])
        columns = {str(name): _of_sequence(str(name), column) for name, column in table.items()}
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            raise InvalidData(f"columns of unequal length: {lengths}", hint="one value per row in every column")
        yield columns, next(iter(lengths.values()), 0)
    elif is_table(table):
        yield from _of_arrow(table)
    else:
        raise InvalidData(
            f"a {type(table).__name__} is not a table", hint="pass a mapping, array, frame or Arrow table"
        )


def _of_array(table: NDArray[Any], names: Sequence[str] | None) -> tuple[dict[str, Any], int]:
    if table.dtype.names and table.ndim == 1:
        return {name: _of_sequence(name, table[name]) for name in table.dtype.names}, len(table)
    if table.ndim == 1 and table.dtype.kind not in "OV":
        table = table[:, None]
    if table.ndim != 2:
        raise InvalidData(f"an array of shape {table.shape} is not a table", hint="pass (rows, columns)")
    labels = [str(at) for at in range(table.shape[1])] if names is None else [str(name) for name in names]
    if len(labels) != table.shape[1]:
        raise InvalidData(f"{len(labels)} names for {table.shape[1]} columns", hint="one name per column")
    _refuse_repeats(labels)
    return {label: table[:, at] for at, label in enumerate(labels)}, len(table)


def _of_series(series: Any) -> Any:
    """A pandas column: its array where that is a view, else the series itself, which Arrow reads block by block."""
    return series.to_numpy() if isinstance(series.dtype, np.dtype) and series.dtype.kind in "biufM" else _Series(series)


@dataclass(frozen=True, slots=True)
class _Series:
    series: Any

    def __len__(self) -> int:
        return len(self.series)

    def __getitem__(self, rows: slice) -> Any:
        return self.series.iloc[rows]

    def take(self, rows: NDArray[np.int64]) -> Any:
        """Return these rows."""
        return self.series.iloc[rows]


def _of_sequence(name: str, column: Any) -> Any:
    if hasattr(column, "iloc"):
        return _of_series(column)
    if hasattr(column, "__arrow_c_array__") or hasattr(column, "__arrow_c_stream__"):
        import pyarrow

        return column if isinstance(column, pyarrow.ChunkedArray) else pyarrow.chunked_array(column)
    try:
        array = column if isinstance(column, np.ndarray) else _array(column)
    except (TypeError, ValueError) as error:
        raise InvalidData(f"column {name!r} is no column: {error}", hint="a column holds one value per row") from None
    if array.ndim != 1:
        raise InvalidData(f"column {name!r} has shape {array.shape}", hint="a column holds one value per row")
    return array


def _array(column: Any) -> NDArray[Any]:
    """A Python sequence as an array that keeps its types: text beside numbers must not become text."""
    found = np.asarray(column)
    mixed = found.dtype.kind in "USO" and not all(isinstance(one, (str, bytes)) for one in column)
    if found.ndim == 1 and mixed:
        kept = np.empty(len(found), object)
        kept[:] = column
        return kept
    return found


def _of_arrow(table: Any) -> Iterator[tuple[dict[str, Any], int]]:
    import pyarrow

    try:
        if hasattr(table, "__arrow_c_stream__") and length(table) is None:
            parts: Any = pyarrow.RecordBatchReader.from_stream(table)
        else:
            parts = [table if isinstance(table, pyarrow.Table) else pyarrow.table(table)]
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        problem = f"a {type(table).__name__} is not a table: {error}"
        strange = "format string" in str(error)
        hint = "cast columns of types that Arrow lacks" if strange else "pass a table or record batches, not one column"
        raise InvalidData(problem, hint=hint) from None
    for part in parts:
        _refuse_repeats(part.schema.names)
        yield dict(zip(part.schema.names, part.columns, strict=True)), part.num_rows


def _refuse_repeats(names: Sequence[str]) -> None:
    if repeated := sorted({name for name in names if list(names).count(name) > 1}):
        raise InvalidData(f"two columns are named {repeated[0]!r}", hint="rename one of them")


def _take(column: Any, rows: NDArray[np.int64]) -> Any:
    """Return these rows. Arrow cannot take rows of views: text becomes plain, and what is not read is as good uncut."""
    if isinstance(column, np.ndarray):
        return column[rows]
    if not isinstance(column, _Series):
        import pyarrow
        from pyarrow import types

        if types.is_string_view(column.type):
            column = column.cast(pyarrow.large_string())
        elif types.is_nested(column.type) or types.is_binary_view(column.type):
            return column.slice(0, len(rows))
    return column.take(rows)


def _read(name: str, part: Any, as_labels: bool) -> tuple[ColumnType, Floats | Labels | None]:
    """Return the type and the values of some rows of one column."""
    if isinstance(part, np.ndarray) and not isinstance(part, np.ma.MaskedArray) and part.dtype.kind in "biufMm":
        found = _of_numbers(part)
    else:
        found = _of_arrow_array(name, part)
    if as_labels and found[0] in ("number", "time"):
        values = np.asarray(found[1], np.float64)
        there = ~np.isnan(values)
        distinct, inverse = np.unique(values[there], return_inverse=True)
        codes = np.full(len(values), -1, np.int64)
        codes[there] = inverse
        return "text", Labels(codes, tuple(f"{value:.17g}" for value in distinct))
    return ("text", found[1]) if as_labels and found[0] == "boolean" else found


def _of_numbers(part: NDArray[Any]) -> tuple[ColumnType, Floats | Labels | None]:
    kind = part.dtype.kind
    if kind == "b":
        return "boolean", Labels(part.astype(np.int64), ("false", "true"))
    if kind in "Mm":
        seconds = part.astype(f"{kind}8[us]")
        values = seconds.astype(np.int64) / 1e6
        values[np.isnat(seconds)] = np.nan
        return ("time" if kind == "M" else "number"), values
    return "number", part.astype(np.float64, copy=False)


def _of_arrow_array(name: str, part: Any) -> tuple[ColumnType, Floats | Labels | None]:
    import pyarrow

    try:
        return _converted(part)
    except UnicodeError as error:
        problem = f"column {name!r} has text that is not Unicode: {error}"
        raise InvalidData(problem, hint="decode it with errors='replace'") from None
    except OverflowError as error:
        problem = f"column {name!r} has numbers of more than 64 bits: {error}"
        raise InvalidData(problem, hint="turn them into floats, or into text if they are names") from None
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        mixed = isinstance(error, (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError))
        problem = f"column {name!r} {'mixes types' if mixed else 'cannot be read'}: {error}"
        raise InvalidData(problem, hint="give each column one type, of numbers, text, booleans or times") from None


def _converted(part: Any) -> tuple[ColumnType, Floats | Labels | None]:
    import pyarrow
    from pyarrow import types

    array = part
    if not isinstance(part, (pyarrow.Array, pyarrow.ChunkedArray)):
        if isinstance(part, np.ma.MaskedArray):
            array = pyarrow.array(part.data, mask=np.ma.getmaskarray(part))
        elif isinstance(part, np.ndarray) and part.dtype.kind not in "OUS":
            return "other", None
        else:
            array = pyarrow.array(_readable(part), from_pandas=True)
    array = array.combine_chunks() if isinstance(array, pyarrow.ChunkedArray) else array
    kind = array.type
    if types.is_null(kind):
        return "null", np.full(len(array), np.nan)
    if types.is_dictionary(kind) and not _is_text(kind.value_type):
        array = array.cast(kind.value_type)
        kind = array.type
    if types.is_boolean(kind):
        codes = np.asarray(array.cast(pyarrow.int64()).fill_null(-1).to_numpy(zero_copy_only=False), np.int64)
        return "boolean", Labels(codes, ("false", "true"))
    if types.is_floating(kind) or types.is_integer(kind) or types.is_decimal(kind):
        array = array.cast(pyarrow.float64(), safe=False) if types.is_decimal(kind) else array
        return "number", array.to_numpy(zero_copy_only=False).astype(np.float64, copy=False)
    if types.is_timestamp(kind) or types.is_date(kind) or types.is_duration(kind):
        whole = pyarrow.duration("us") if types.is_duration(kind) else pyarrow.timestamp("us")
        micros = array.cast(whole, safe=False).cast(pyarrow.int64()).to_numpy(zero_copy_only=False)
        return ("number" if types.is_duration(kind) else "time"), micros.astype(np.float64) / 1e6
    return ("text", _labels(array)) if types.is_dictionary(kind) or _is_text(kind) else ("other", None)


def _readable(part: Any) -> Any:
    """A pandas column as Arrow takes it: categories that are intervals or periods as text, a sparse one filled up."""
    categories = getattr(getattr(part, "dtype", None), "categories", None)
    if categories is not None and str(categories.dtype).startswith(("interval", "period")):
        return part.cat.rename_categories(categories.astype(str))
    return part.sparse.to_dense() if hasattr(part, "sparse") else part


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _labels(array: Any) -> Labels:
    import pyarrow
    from pyarrow import types

    coded = array if types.is_dictionary(array.type) else array.dictionary_encode()
    codes = coded.indices.cast(pyarrow.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    names = coded.dictionary.to_pylist()
    if None in names:  # a dictionary may hold the null itself
        gone = names.index(None)
        codes = np.where(codes == gone, -1, codes)
        names[gone] = ""
    return Labels(np.asarray(codes, np.int64), tuple(names))
