"""The table of what turns red without each condition can be made: each condition stands in the code, once."""

import pytest

from tests.responder.mutations import ROOT, places
from tests.responder.mutations_list import MUTATIONS


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.condition)
def test_a_condition_that_the_table_takes_out_stands_in_one_place(mutation):
    for text, _ in mutation.changes:
        assert len(places(ROOT, text)) == 1, text
