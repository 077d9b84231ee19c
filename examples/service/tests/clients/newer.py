"""Python chunkr-ai 0.1.0a15, as it comes, against a server with one worker. Arguments: URL, key, other key."""

import sys
import time

import chunkr_ai
from chunkr_ai import Chunkr

URL, KEY, OTHER = sys.argv[1:]
FILE = "data:text/plain,one two three four five six seven."

chunkr = Chunkr(base_url=URL, api_key=KEY)
other = Chunkr(base_url=URL, api_key=OTHER)


def create(target, **more):
    return chunkr.tasks.parse.create(file=FILE, chunk_processing={"target_length": target}, **more)


def until(task, done):
    while not done(task):
        time.sleep(0.05)
        task = chunkr.tasks.get(task.task_id)
    return task


def refused(error, call, *arguments):
    try:
        call(*arguments)
    except error as refusal:
        assert refusal.response.headers["content-type"].startswith("text/plain")
        return refusal.response.text
    raise AssertionError(f"not refused with {error}")


assert chunkr.health.check() == "OK"

first = create(3, file_name="numbers.txt", ocr_strategy="Auto", expires_in=3600)
assert first.status == "Starting" and not first.completed and first.task_type == "Parse"
assert first.configuration.ocr_strategy == "Auto"
assert first.configuration.expires_in == 3600 and first.expires_at is None
until(first, lambda task: task.status == "Processing")

# The worker is busy: what comes next waits.
second = create(3)
assert refused(chunkr_ai.NotFoundError, other.tasks.cancel, second.task_id) == "Task not found"
assert chunkr.tasks.cancel(second.task_id) is None
cancelled = chunkr.tasks.get(second.task_id)
assert cancelled.status == "Cancelled" and cancelled.completed
text = refused(chunkr_ai.BadRequestError, chunkr.tasks.cancel, second.task_id)
assert text == "task cannot be cancelled: status is Cancelled", text

done = until(first, lambda task: task.completed)
assert done.status == "Succeeded"
assert [chunk.chunk_length for chunk in done.output.chunks] == [3, 3, 1]
assert done.output.chunks[0].segments[0].content == "one two three"
assert done.file_info.name == "numbers.txt" and done.version_info.server_version
same = chunkr.tasks.parse.get(first.task_id, include_chunks=False)
assert same.output.chunks == [] and same.output.page_count == 1

ids = [task.task_id for task in chunkr.tasks.list()]
assert ids == [second.task_id, first.task_id], ids
assert list(other.tasks.list()) == []

assert chunkr.tasks.delete(first.task_id) is None
refused(chunkr_ai.NotFoundError, chunkr.tasks.get, first.task_id)
refused(chunkr_ai.AuthenticationError, Chunkr(base_url=URL, api_key="wrong").tasks.get, first.task_id)
refused(chunkr_ai.BadRequestError, lambda: chunkr.tasks.parse.create(file="https://example.org/a.pdf"))
print("ok")
