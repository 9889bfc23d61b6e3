"""Measures of weights in the report."""

import json

from lmeff.analysis import read_runs
from lmeff.analysis.charts.series import make_series
from lmeff.analysis.charts.weights_charts import weights_figure


def test_a_cosine_near_1_is_shown_as_it_is(fake_run):
    run = fake_run(anchors=(0, 25), scored=False)
    for tokens, cosine in (("0", 0.51234), ("25M", 0.99987)):
        path = run / "results" / f"seed-0-tokens-{tokens}" / "similarity.json"
        path.parent.mkdir(parents=True)
        values = {"alias": "similarity", "cosine_to_final_mlp,none": cosine}
        counts = {"similarity": {"original": 1, "effective": 1}}
        result = {"results": {"similarity": values}, "n-samples": counts, "measures": "weights"}
        path.write_text(json.dumps(result | {"configs": {}, "versions": {}, "higher_is_better": {}}))
    figure = json.dumps(weights_figure(make_series(read_runs([run]))))
    assert '"shown": "0.5123"' in figure
    assert '"shown": "0.9999"' in figure
