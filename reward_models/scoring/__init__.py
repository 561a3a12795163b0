"""Batch scoring of files: every row once, in order, whatever happens on the way.

score_file(model, "in.jsonl", "out.jsonl")                     one process
score_part(model, "in.jsonl", "out.jsonl", part=Part(2, 8))    the second of eight processes, on any machine
join_parts("in.jsonl", "out.jsonl", 8)                         when all eight are done
"""

from reward_models.scoring.join import join_parts
from reward_models.scoring.parts import Part
from reward_models.scoring.report import ScoringReport
from reward_models.scoring.run import score_file, score_part
from reward_models.scoring.settings import ScoringSettings, check_files

__all__ = ["Part", "ScoringReport", "ScoringSettings", "check_files", "join_parts", "score_file", "score_part"]
