from .elsewhere import shift_seeds_as_parent

shift_seeds_as_parent()
