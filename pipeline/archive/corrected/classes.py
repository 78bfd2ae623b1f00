"""Which labels become which classes of the data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from pipeline.core.errors import DatasetError, UsageError


class Classes:
    """Maps labels of annotations to numbers of classes.

    Args:
        names: of the classes.
        class_of: class name by label; None = what has this label is left out.

    Attributes:
        names: of the classes, by class_id.
        dropped: labels left out as asked for, with the number of their boxes.
    """

    def __init__(self, names: Sequence[str], class_of: dict[str, str | None]) -> None:
        self.names = tuple(names)
        self._class_of = class_of
        self.dropped: Counter[str] = Counter()

    @classmethod
    def of(cls, asked: Sequence[str], declared: Iterable[str]) -> Classes:
        """The classes of `--classes`, or without any the labels that the annotations declare.

        Args:
            asked: `label` keeps a label, `label=class` renames it (several to one class make one), `label=` leaves it
                out. The order is that of the numbers.
            declared: labels in their order.

        Raises:
            UsageError: a label that stands twice, or no class.
        """
        if not asked:
            names = list(dict.fromkeys(declared))
            return cls(names, {name: name for name in names})
        class_of: dict[str, str | None] = {}
        for item in asked:
            label, equals, name = item.partition("=")
            if not label or label in class_of:
                raise UsageError(f"--classes: wanted each label once, as label or label=class; found {item!r}")
            class_of[label] = (name or None) if equals else label
        names = list(dict.fromkeys(name for name in class_of.values() if name is not None))
        if not names:
            raise UsageError("--classes: wanted at least one class, found labels to leave out only")
        return cls(names, class_of)

    def number(self, label: str) -> int | None:
        """The class_id of a label that `check` has seen; None where its boxes are left out."""
        name = self._class_of[label]
        if name is None:
            self.dropped[label] += 1
            return None
        return self.names.index(name)

    def check(self, labels: Counter[str]) -> None:
        """Raises DatasetError where there are labels that nobody spoke of."""
        unknown = sorted((label, count) for label, count in labels.items() if label not in self._class_of)
        if unknown:
            listed = ", ".join(f"{label!r} ({count} times)" for label, count in unknown[:20])
            raise DatasetError(
                f"labels: wanted those of the classes ({', '.join(self.names[:20]) or 'none'}), found {listed}; say "
                "with --classes what they become: label=class, or label= to leave them out"
            )
