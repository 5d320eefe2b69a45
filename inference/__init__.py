"""One evaluation: from a spectrum to predictions, likelihoods, combination and score; see docs/architecture.md."""

from database.results.store import cache_path
from inference.kernel_cache import use_kernels_of_this_code

use_kernels_of_this_code(cache_path())
