from mmseg_ext.benchmarks import semeda
from mmseg_ext.engine.hooks import SemanticEdgeNetHook


def test_every_call_of_the_hooks_case_trains(monkeypatch):
    steps, train = [], SemanticEdgeNetHook._train

    def recorded(self, *args):
        steps.append(self.iterations)
        return train(self, *args)

    monkeypatch.setattr(SemanticEdgeNetHook, '_train', recorded)
    case = semeda.semantic_edge_net_hook('cpu', small=True)
    for calls in (1, 2, 3):
        case.runs['ours']()
        assert steps == [2] * calls
