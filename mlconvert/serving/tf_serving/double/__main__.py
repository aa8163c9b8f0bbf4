"""`python -m mlconvert.serving.tf_serving.double --port=… --rest_api_port=… --model_config_file=…`"""

import sys

from mlconvert.serving.tf_serving.double.program import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
