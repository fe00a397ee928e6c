"""HierSum: video summarization from subtitles and descriptions, as a Transformers model.

Importing the package registers the model with the Auto classes of Transformers.
"""

from hiersum_hf.modeling.configuration_hiersum import HierSumConfig
from hiersum_hf.modeling.feature_extraction_hiersum import HierSumFeatureExtractor
from hiersum_hf.modeling.modeling_hiersum import HierSumModel, HierSumOutput


__version__ = "0.1.0"
__all__ = ["HierSumConfig", "HierSumFeatureExtractor", "HierSumModel", "HierSumOutput"]
