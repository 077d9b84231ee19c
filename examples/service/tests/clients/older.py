"""Python chunkr-ai 0.3.7, as it comes, against a server with one worker. Arguments: URL, key, other key."""

import asyncio
import sys

import httpx
from chunkr_ai import Chunkr
from chunkr_ai.models import ChunkProcessing, Configuration, Status, Tokenizer

URL, KEY, OTHER = sys.argv[1:]
TEXT = b"one two three four five six seven. "


def words(target, **more):
    return Configuration(chunk_processing=ChunkProcessing(target_length=target, **more))


async def refused(code, awaitable):
    try:
        await awaitable
    except httpx.HTTPStatusError as error:
        assert error.response.status_code == code, error.response.text
        assert error.response.headers["content-type"].startswith("text/plain")
        return error.response.text
    raise AssertionError(f"not refused with {code}")


async def busy(chunkr):
    """Gives the one worker something to do, so that what comes next waits."""
    task = await chunkr.create_task(TEXT, words(2))
    while (await chunkr.get_task(task.task_id)).status != Status.PROCESSING:
        await asyncio.sleep(0.02)
    return task


async def main(url):
    chunkr = Chunkr(url=url, api_key=KEY)
    other = Chunkr(url=url, api_key=OTHER)

    # Create and wait.
    done = await chunkr.upload(TEXT, words(3), filename="numbers.txt")
    assert done.status == Status.SUCCEEDED and done.message == "Task succeeded", done
    assert [chunk.chunk_length for chunk in done.output.chunks] == [3, 3, 1]
    assert done.output.file_name == "numbers.txt" and done.output.page_count == 1
    assert done.output.pdf_url is None
    assert done.content() == "one two three\nfour five six\nseven.", done.content()
    assert done.started_at < done.finished_at and done.created_at < done.started_at

    # Too late to cancel.
    text = await refused(400, done.cancel())
    assert text == "task cannot be cancelled: status is Succeeded", text

    # An update runs.
    done = await chunkr.update(done.task_id, words(4))
    assert done.configuration.chunk_processing.target_length == 4
    assert [chunk.chunk_length for chunk in done.output.chunks] == [4, 3]

    # An update that is cancelled reverts, to the letter.
    before = (await chunkr.get_task(done.task_id)).model_dump()
    await busy(chunkr)
    waiting = await chunkr.update_task(done.task_id, words(5))
    assert waiting.status == Status.STARTING and waiting.output is None
    assert waiting.configuration.chunk_processing.target_length == 5
    after = await (await waiting.cancel())
    assert (await chunkr.get_task(done.task_id)).model_dump() == before
    assert after.status == Status.SUCCEEDED

    # An update that fails reverts too.
    failed = await (await after.update(words(5, tokenizer="no/such-model")))
    assert failed.status == Status.SUCCEEDED
    assert (await chunkr.get_task(done.task_id)).model_dump() == before

    # A new task that is cancelled.
    await busy(chunkr)
    task = await chunkr.create_task(TEXT, words(3))
    assert task.status == Status.STARTING
    text = await refused(400, task.delete())
    assert text == "task cannot be deleted: status is Starting", text
    await refused(404, other.cancel_task(task.task_id))
    await chunkr.cancel_task(task.task_id)
    task = await task.poll()
    assert task.status == Status.CANCELLED and task.output is None
    await refused(400, chunkr.cancel_task(task.task_id))
    await refused(400, chunkr.update_task(task.task_id, words(3)))
    await task.delete()
    await refused(404, chunkr.get_task(task.task_id))

    # What is no text fails.
    image = await chunkr.upload("data:image/png;base64,iVBORw0KGgo=")
    assert image.status == Status.FAILED and image.message == "The file is not UTF-8 text"

    await refused(404, chunkr.get_task("no-such-task"))
    await refused(404, other.get_task(done.task_id))
    await refused(401, Chunkr(url=url, api_key="wrong").get_task(done.task_id))


async def both():
    await main(URL)
    await main(f"{URL}/api/v1")


asyncio.run(both())

# And without a loop of one's own.
chunkr = Chunkr(url=URL, api_key=KEY)
task = chunkr.upload(TEXT, words(3))
assert task.status == Status.SUCCEEDED
assert chunkr.get_task(task.task_id, include_chunks=False).output.chunks == []
print("ok")
