"""What `vitrine image-features` refuses before anything slow runs."""

import pytest
from click.testing import CliRunner

from tfx_pipeline.cli import cli


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["template"], "no section `representation`"),
        (["no_such"], "No configuration `no_such`"),
        (["template", "--set", "representation={}"], "nothing says what a click is"),
        (["template", "--set", "representation={field: Look}"], "lower-case letters"),
        (
            ["shop_courier", "--set", "log_dir=s3://shop/log"],
            "`log_dir` .* is in an object store",
        ),
        (["template", "--set", "representation.trainer.model.dimm=3"], "dimm.*dim"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    import re

    done = CliRunner().invoke(cli, ["image-features", *arguments])
    assert done.exit_code
    assert re.search(message, f"{done.output} {done.exception}", re.DOTALL)


def test_the_log_is_checked_first(tmp_path):
    given = ["--set", f"log_dir={tmp_path}"]
    done = CliRunner().invoke(cli, ["image-features", "shop_courier", *given])
    assert done.exit_code
    assert "`log_dir` has no event log to read" in f"{done.output} {done.exception}"
