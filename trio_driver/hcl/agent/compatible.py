"""Which types convert to which, and why not: decided by types alone.

Source: go-cty's cty/convert package. Of its unification only what schemas of real drivers need.
"""

from __future__ import annotations

from collections.abc import Sequence

from trio_driver.hcl.agent.types import Collection, Collects, ObjectType, Primitive, TupleType, Type


def convertible(got: Type, want: Type) -> bool:
    """Whether some values of type `got` have a form of type `want`."""
    match got, want:
        case _ if got == want or Primitive.ANY in (got, want):
            return True
        case Primitive(), Primitive():
            return Primitive.STRING in (got, want)
        case ObjectType(), ObjectType():
            have = dict(got.attributes)
            return all(n in have and convertible(have[n], t) for n, t in want.attributes)
        case TupleType(), TupleType():
            same = len(got.elements) == len(want.elements)
            return same and all(map(convertible, got.elements, want.elements))
        case ((TupleType() | ObjectType()), Collection(kind=kind, element=element)):
            if (kind is Collects.MAP) is not isinstance(got, ObjectType):
                return False
            parts = parts_of(got)
            if element is Primitive.ANY and parts:
                return unify(parts) is not None
            return all(convertible(part, element) for part in parts)
        case Collection(), Collection():
            maps = (got.kind is Collects.MAP, want.kind is Collects.MAP)
            return maps[0] == maps[1] and convertible(got.element, want.element)
        case _:
            return False


def parts_of(type_: TupleType | ObjectType) -> list[Type]:
    if isinstance(type_, TupleType):
        return list(type_.elements)
    return [attribute for _, attribute in type_.attributes]


def names_of(type_: ObjectType) -> list[str]:
    """The names of an object's attributes."""
    return [name for name, _ in type_.attributes]


def unify(parts: Sequence[Type]) -> Type | None:
    """The one type that all of some types convert to; None where there is none.

    Unlike an agent's, objects, tuples and collections unify with their like only, part by part.
    """
    known = [part for part in parts if part is not Primitive.ANY]
    if not known:
        return Primitive.ANY
    first = known[0]
    if all(part == first for part in known):
        return first
    match first:
        case Primitive():
            primitive = all(isinstance(part, Primitive) for part in known)
            return Primitive.STRING if primitive and Primitive.STRING in known else None
        case Collection(kind=kind):
            rows = [[p.element] for p in known if isinstance(p, Collection) and p.kind is kind]
            columns = _unify_columns(rows, len(known))
            return Collection(kind, columns[0]) if columns else None
        case ObjectType():
            names = names_of(first)
            alike = [p for p in known if isinstance(p, ObjectType) and names_of(p) == names]
            columns = _unify_columns([parts_of(part) for part in alike], len(known))
            return ObjectType(tuple(zip(names, columns, strict=True))) if columns else None
        case TupleType():
            rows = [parts_of(part) for part in known if isinstance(part, TupleType)]
            columns = _unify_columns(rows, len(known))
            return TupleType(tuple(columns)) if columns else None


def _unify_columns(rows: list[list[Type]], count: int) -> list[Type] | None:
    """Unify the parts at each position of `count` types; None where that cannot be."""
    if len(rows) != count or len({len(row) for row in rows}) != 1:
        return None
    columns = [unify(column) for column in zip(*rows, strict=True)]
    return [column for column in columns if column] if all(columns) else None


def mismatch(got: Type, want: Type) -> str:
    """Why nothing of type `got` converts to `want`."""
    match got, want:
        case ObjectType(), ObjectType():
            return _mismatch_objects(got, want)
        case ((TupleType() | ObjectType()), Collection(kind=kind, element=Primitive.ANY)):
            if (kind is Collects.MAP) is isinstance(got, ObjectType):
                return f"all {kind.value} elements must have the same type"
            return f"{words(want)} required"
        case ((TupleType() | ObjectType()), Collection(kind=kind, element=element)):
            if (kind is Collects.MAP) is not isinstance(got, ObjectType):
                return f"{words(want)} required"
            names: list[object] = list(range(len(parts_of(got))))
            if isinstance(got, ObjectType):
                names = [f'"{name}"' for name in names_of(got)]
            for name, part in zip(names, parts_of(got), strict=True):
                if not convertible(part, element):
                    return f"element {name}: {mismatch(part, element)}"
            return f"all elements must be {words(element)}"
        case _ if _clear(got, want):
            return f"{words(want)} required, but have {words(got)}"
        case _:
            return f"{words(want)} required"


def _mismatch_objects(got: ObjectType, want: ObjectType) -> str:
    have = dict(got.attributes)
    missing = [f'"{name}"' for name, _ in want.attributes if name not in have]
    if len(missing) == 1:
        return f"attribute {missing[0]} is required"
    if len(missing) == 2:
        return f"attributes {missing[0]} and {missing[1]} are required"
    if missing:
        return f"attributes {', '.join(missing[:-1])}, and {missing[-1]} are required"
    for name, type_ in want.attributes:
        if not convertible(have[name], type_):
            return f'attribute "{name}": {mismatch(have[name], type_)}'
    return "incorrect object attributes"


def _clear(got: Type, want: Type) -> bool:
    """Whether naming both types helps: no string could have been the wanted number or bool."""
    match got, want:
        case Primitive(), Primitive():
            return Primitive.STRING not in (got, want) or want is Primitive.STRING
        case (Primitive(), _) | (_, Primitive()) | (TupleType(), ObjectType()):
            return True
        case _:
            return False


def words(type_: Type, *, of_any: str = "any type") -> str:
    """A type as something that is required."""
    match type_:
        case Primitive():
            return of_any if type_ is Primitive.ANY else type_.value
        case Collection():
            return f"{type_.kind.value} of {words(type_.element, of_any='any single type')}"
        case ObjectType():
            return "object"
        case TupleType():
            return "tuple"
