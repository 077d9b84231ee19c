"""moto's S3 with a bucket `tasks`, on the port given: one request at a time, as it compares and
writes in two steps."""

import logging
import sys

from moto.s3.models import s3_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

logging.getLogger("werkzeug").setLevel(logging.ERROR)
s3_backends["123456789012"]["aws"].create_bucket("tasks", "us-east-1")
application = DomainDispatcherApplication(create_backend_app)
run_simple("127.0.0.1", int(sys.argv[1]), application, threaded=False)
